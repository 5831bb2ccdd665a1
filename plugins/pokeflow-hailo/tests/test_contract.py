"""The Hailo targets keep the contract of targets: without a compiler, and with a double that takes its place."""

from typing import ClassVar

import pytest

from pokeflow_vision.testing import TargetSuite

from .compile_flow import wrapper

SMALL = ("target.compile.params.script.preset=fast", "target.compile.params.calibration_images=null")


class TestHailo8lWithoutACompiler(TargetSuite):
    target = "hailo8l"
    overrides = (*SMALL, "target.compile.params.compiler.python=/nowhere/python3")
    available = False


class TestHailo8lWithADouble(TargetSuite):
    target = "hailo8l"
    overrides: ClassVar[tuple[str, ...]] = SMALL
    deterministic = False
    because = "the report tells how long each step took"
    simulated = True

    @pytest.fixture(autouse=True, scope="class")
    def _double(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
        python = wrapper(tmp_path_factory.mktemp("double"))
        request.cls.overrides = (*SMALL, f"target.compile.params.compiler.python={python}")
