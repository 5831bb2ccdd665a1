"""The target cpu keeps what pokeflow asks of any target."""

from pokeflow.testing import TargetSuite


class TestCpu(TargetSuite):
    target = "cpu"
    available = True
