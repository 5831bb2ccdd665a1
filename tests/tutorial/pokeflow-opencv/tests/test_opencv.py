from pokeflow.testing import TargetSuite


class TestOpencv(TargetSuite):
    target = "opencv"
