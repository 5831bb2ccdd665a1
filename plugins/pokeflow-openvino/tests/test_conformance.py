"""Check that the target openvino conforms to the contract of targets."""

from pokeflow_vision.testing import TargetSuite


class TestOpenvino(TargetSuite):
    target = "openvino"
    available = True
