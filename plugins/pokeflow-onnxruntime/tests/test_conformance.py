"""Check that the target cpu conforms to the contract of targets."""

from pokeflow_vision.testing import TargetSuite


class TestCpu(TargetSuite):
    target = "cpu"
    available = True
