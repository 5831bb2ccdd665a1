"""A finished making of forty cards, and the bundle of it, as the stage packs it."""

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

from ..conftest import ADAPTER, DIM, SPEC, drawn

WEIGHTS = np.random.default_rng(3).normal(0, 0.2, (48, DIM)).astype(np.float32)
PARAMS: dict[str, Any] = {"target": "cpu", "adapter": "pokeflow_small.network", "requires": ("tiny-runtime>=1.0",)}


def open_network(weights: np.ndarray = WEIGHTS) -> Any:
    names: dict[str, Any] = {"__name__": "small"}
    exec(ADAPTER, names)
    return names["Network"](weights, SPEC)


def done(stage: str, folder: Path, **facts: Any) -> Input:
    """A finished task, recorded as the engine does."""
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
    """The folders of one little flow, and its tasks."""

    root: Path

    def prepared(self, data: dataset.Dataset | None = None) -> Input:
        folder = self.root / "prepare"
        folder.mkdir(exist_ok=True)
        dataset.write(folder, data or drawn(), {})
        return done("prepare", folder)

    def compiled(self, gallery_of: np.ndarray = WEIGHTS, **facts: Any) -> Input:
        folder = self.root / "compile"
        folder.mkdir(exist_ok=True)
        np.save(folder / "weights.npy", WEIGHTS)
        SPEC.write(folder)
        index.write(folder, gallery(open_network(gallery_of), drawn()))
        for name in ("calibration_dataset.npy", "calibration_config.json", "compilation_report.json", "x.har"):
            (folder / name).write_bytes(b"for people")
        return done("compile", folder, **facts)

    def task(self, *inputs: Input, **params: Any) -> Task:
        output = self.root / "package"
        output.mkdir(exist_ok=True)
        return Task(
            "package", "edge", "small", "v1.2", "optimized", "0" * 16,
            PackageParams(**{**PARAMS, **params}),
            inputs or (self.compiled(), self.prepared()), self.root, output,
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
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts an adapter where Python finds it, as a plugin's is, and tells its module's name."""

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
def flow(tmp_path: Path, installed: Callable[..., str]) -> Flow:
    """A flow whose adapter is installed."""
    installed(ADAPTER, "pokeflow_small")
    return Flow(tmp_path)


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # all are files
