"""The target cpu keeps what pokeflow asks of any target."""

from pokeflow_vision.testing import TargetSuite


class TestCpu(TargetSuite):
    target = "cpu"
    available = True
