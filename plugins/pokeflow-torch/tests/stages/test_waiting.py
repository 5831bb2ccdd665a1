"""Threads of a stage sleep while they wait, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
import pokeflow_torch.stages
assert 'torch' not in sys.modules, 'OpenMP would have read its settings already'
import os
print(os.environ['OMP_WAIT_POLICY'])
"""


@pytest.mark.parametrize(("chosen", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_policy_is_set_before_torch_is_loaded(chosen: str | None, expected: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
