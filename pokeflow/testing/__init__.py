"""The conformance suite: what a target's author runs to know that it keeps the contract. Needs ``pokeflow[testing]``.

from pokeflow.testing import TargetSuite

class TestAcme(TargetSuite):
    target = "acme"
"""

from pokeflow.testing.suite import TargetSuite

__all__ = ["TargetSuite"]
