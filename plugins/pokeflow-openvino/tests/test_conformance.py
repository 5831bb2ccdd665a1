"""The target keeps the contract that every target keeps."""

from pokeflow_vision.testing import TargetSuite


class TestOpenvino(TargetSuite):
    target = "openvino"
    available = True
