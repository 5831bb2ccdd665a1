"""Conformance suite, with which the author of a target verifies that it keeps the contract.

Needs ``pokeflow-vision[testing]``.

from pokeflow_vision.testing import TargetSuite

class TestAcme(TargetSuite):
    target = "acme"
"""

from pokeflow_vision.testing.suite import TargetSuite

__all__ = ["TargetSuite"]
