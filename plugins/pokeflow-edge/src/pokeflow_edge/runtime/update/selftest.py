"""Self-test of a bundle on this device before it serves, in a separate process with the bundle's own code."""

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT = 600.0
"""Timeout of a self-test in seconds."""


def run_self_test(folder: Path) -> str:
    """Open a bundle as its service does, which runs its self-test; return the reason of a failure, else ''."""
    command = [sys.executable, "-P", "-B", "-m", "pokeflow_edge.runtime", "--check", "--bundle", str(folder)]
    # Without variables that redirect its imports, and without credentials, which it does not need.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}
    env["PYTHONPATH"] = str(folder / "lib")
    try:
        process = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it did not finish within {TIMEOUT:g} seconds."
    if process.returncode == 0:
        return ""
    errors = process.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}."]
    return errors[-1][:500]
