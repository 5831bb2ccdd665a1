"""A compiled model, tasks that measure it, and an interpreter with HailoRT's double."""

import hashlib
import json
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Input, Task
from pokeflow_hailo.device import chip
from pokeflow_hailo.device.chip import Chip, Measurement
from pokeflow_hailo.params import BenchmarkParams, ProfileParams
from pokeflow_vision.preprocessing import to_square
from pokeflow_vision.testing import data, network

from .compile_flow import DOUBLES, prepared, record
from .doubles import hef_bytes

QUICK: dict[str, Any] = {"runs": 24, "warmup": 4, "max_seconds": 20.0}


@dataclass(frozen=True)
class ChipFlow:
    """The folders of one flow; ``python`` is an interpreter with HailoRT's double that sets ``environment``."""

    root: Path
    environment: dict[str, str]

    @property
    def python(self) -> str:
        file = self.root / "device-python"
        variables = " ".join(f"{name}='{value}'" for name, value in self.environment.items())
        file.write_text(f'#!/bin/sh\nexport PYTHONPATH={DOUBLES} {variables}\nexec {sys.executable} "$@"\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)

    def prepared(self, dataset: Any = None) -> Input:
        return prepared(self.root, dataset)

    def compiled(self, architecture: str = "hailo8l", spec: Any = data.SPEC, **params: Any) -> Input:
        """Return a folder with a HEF that a small network plays; another architecture gives another HEF."""
        folder, played = self.root / "compiled", self.root / "played"
        for path in (folder, played):
            path.mkdir(exist_ok=True)
        network.write(played)
        spec.write(folder)
        content = hef_bytes.make(architecture)
        (folder / "model.hef").write_bytes(content)
        networks = {hashlib.sha256(content).hexdigest(): str(played / "model.onnx")}
        (self.root / "networks.json").write_text(json.dumps(networks))
        item = record("compile", "optimized", architecture="small")
        return Input(replace(item, params={"hw_arch": architecture, **params}), folder)

    def two_outputs(self) -> Input:
        """Return a compiled model whose network has its pooling's result as a second output."""
        import onnx

        compiled = self.compiled()
        file = self.root / "played" / "model.onnx"
        model = onnx.load(file)
        size = model.graph.initializer[-2].dims[0]
        model.graph.output.append(onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, ["batch", size]))
        onnx.save(model, file)
        return compiled

    @contextmanager
    def held(self) -> Iterator[subprocess.Popen[str]]:
        """Start another process that holds the chip until the block ends."""
        code = "import hailo_platform; chip = hailo_platform.VDevice(); print('held', flush=True); input()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([self.python, "-c", code], text=True, **pipes) as process:  # type: ignore[call-overload]
            try:
                assert process.stdout.readline() == "held\n"
                yield process
            finally:
                process.kill()

    def opened(self, device: str = "local", *, python: str | None = None) -> AbstractContextManager[Chip]:
        """Open the chip of a device with a compiled model."""
        return chip.open_chip(device, python or self.python, self.compiled().folder / "model.hef")

    def timed(self, **wanted: Any) -> Measurement:
        squares = to_square(data.draw_dataset().references[:5], data.SPEC)
        options = {"runs": 20, "warmup": 2, "batch_sizes": (1, 8), "max_seconds": 20.0, **wanted}
        with self.opened() as opened:
            return opened.time(squares, **options)

    def task(self, stage: str, params: Any, *inputs: Input) -> Task:
        work, output = self.root / f"work-{stage}", self.root / stage
        work.mkdir(exist_ok=True)
        output.mkdir(exist_ok=True)
        return Task(stage, "hailo", "small", "1.0", "optimized", "0" * 16, params, inputs, work, output)

    def benchmark(self, *inputs: Input, **params: Any) -> Task:
        wanted = BenchmarkParams(**{**QUICK, "python": self.python, **params})
        return self.task("benchmark", wanted, *(inputs or (self.compiled(), self.prepared())))

    def profile(self, *inputs: Input, **params: Any) -> Task:
        wanted = ProfileParams(**{"runs": 24, "python": self.python, **params})
        return self.task("profile", wanted, *(inputs or (self.compiled(), self.prepared())))


@pytest.fixture
def chip_flow(tmp_path: Path) -> ChipFlow:
    """A flow whose device is a Hailo-8L without a power sensor."""
    return ChipFlow(tmp_path, {"HAILO_DOUBLE": "hailo8l", "HAILO_DOUBLE_NETWORKS": str(tmp_path / "networks.json")})


@pytest.fixture
def hailortcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a shell script named hailortcli before all other programs."""

    def put(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "hailortcli").write_text("#!/bin/sh\n" + script)
        (folder / "hailortcli").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return put
