"""A finished flow with forty cards, and its bundle as packed by the stage."""

import dataclasses
import hashlib
import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pokeflow_edge
from pokeflow import File, Input, Record, Result, Task
from pokeflow_edge.params import PackageParams
from pokeflow_vision import dataset, index
from pokeflow_vision.network import gallery

from ..conftest import ADAPTER, DIM, SPEC, card_dataset

WEIGHTS = np.random.default_rng(3).normal(0, 0.2, (48, DIM)).astype(np.float32)
PARAMS: dict[str, Any] = {"target": "cpu", "adapter": "pokeflow_small.network", "requires": ("tiny-runtime>=1.0",)}


def open_network(weights: np.ndarray = WEIGHTS) -> Any:
    names: dict[str, Any] = {"__name__": "small"}
    exec(ADAPTER, names)
    return names["Network"](weights, SPEC)


def finished_task(stage: str, folder: Path, **facts: Any) -> Input:
    """Return a finished task, recorded as by the engine."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    files = tuple(
        File(file.relative_to(folder).as_posix(), file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    )
    values |= {"task": f"{stage}:small", "stage": stage, "type": "optimized", "backend": "test", "seconds": 0.0}
    values |= {"digest": f"{stage}-digest", "content": f"{stage}-content", "files": files, "facts": facts}
    return Input(Record(**values), folder)


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders of a small flow, and its tasks."""

    root: Path

    def prepare(self, data: dataset.Dataset | None = None) -> Input:
        folder = self.root / "prepare"
        folder.mkdir(exist_ok=True)
        dataset.write(folder, data or card_dataset(), {})
        return finished_task("prepare", folder)

    def compile(self, gallery_of: np.ndarray = WEIGHTS, **facts: Any) -> Input:
        folder = self.root / "compile"
        folder.mkdir(exist_ok=True)
        np.save(folder / "weights.npy", WEIGHTS)
        SPEC.write(folder)
        index.write(folder, gallery(open_network(gallery_of), card_dataset()))
        for name in ("calibration_dataset.npy", "calibration_config.json", "compilation_report.json", "x.har"):
            (folder / name).write_bytes(b"for people")
        return finished_task("compile", folder, **facts)

    def task(self, *inputs: Input, **params: Any) -> Task:
        output = self.root / "package"
        output.mkdir(exist_ok=True)
        return Task(
            "package", "edge", "small", "v1.2", "optimized", "0" * 16,
            PackageParams(**{**PARAMS, **params}),
            inputs or (self.compile(), self.prepare()), self.root, output,
        )  # fmt: skip

    def package(self, *inputs: Input, **params: Any) -> tuple[Path, Result]:
        task = self.task(*inputs, **params)
        (backend,) = (b for b in pokeflow_edge.pokeflow_backends() if b.stage == "package")
        assert backend.check is not None
        assert list(backend.faults(task.params)) == []
        result = backend(task)
        assert isinstance(result, Result)
        return task.output / "edge-bundle.tar.gz", result


@pytest.fixture
def install_adapter(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that installs an adapter as a plugin's module and returns the module's name."""

    def put(code: str, package: str, init: str = "") -> str:
        folder = tmp_path_factory.mktemp("plugin")
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(init, encoding="utf-8")
        (folder / package / "network.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        for name in (package, f"{package}.network"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{package}.network"

    return put


@pytest.fixture
def flow(tmp_path: Path, install_adapter: Callable[..., str]) -> Flow:
    """Return a flow whose adapter is installed."""
    install_adapter(ADAPTER, "pokeflow_small")
    return Flow(tmp_path)


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # all are files
