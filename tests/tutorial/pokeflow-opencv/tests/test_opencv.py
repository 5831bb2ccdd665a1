from pokeflow_vision.testing import TargetSuite


class TestOpencv(TargetSuite):
    target = "opencv"
