"""Compile tasks on drawn cards and their small network, and an interpreter with the compiler's double."""

import dataclasses
import json
import stat
import sys
from pathlib import Path
from typing import Any

import onnx

from pokeflow import Input, Record, Task
from pokeflow_hailo.params import CompileParams, Compiler, Script
from pokeflow_vision.dataset import CALIBRATION, Dataset
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data, network

DOUBLES = Path(__file__).parent / "doubles"
FILE = "pokemon_student_efficientnet_lite0_stage2.hef"
STEM = FILE.removesuffix(".hef")
BEFORE = {
    f"{STEM}.onnx",
    f"{STEM}.alls",
    "preprocessing.json",
    "calibration_dataset.npy",
    "calibration_config.json",
    "hailo_config.yaml",
}
"""The files that are written without a compiler."""
AFTER = BEFORE | {
    FILE,
    f"{STEM}.har",
    f"{STEM}.parsed.har",
    f"{STEM}.optimized.har",
    "compilation_report.json",
    "dfc_profile.json",
    "index.npz",
}
IMAGES = 48


def with_captures(times: int) -> Dataset:
    """Return the drawn cards with each of the 72 captures of train cards repeated."""
    drawn = data.draw_dataset()
    again = [j for j, query in enumerate(drawn.queries) if query.split == CALIBRATION] * (times - 1)
    more = tuple(dataclasses.replace(drawn.queries[j], view=data.VIEWS + n) for n, j in enumerate(again))
    shown = [*range(len(drawn.queries)), *again]
    return dataclasses.replace(drawn, queries=drawn.queries + more, query_images=drawn.query_images[shown])


def without(split: str) -> Dataset:
    """Return the drawn cards without the queries of a split."""
    drawn = data.draw_dataset()
    kept = [j for j, query in enumerate(drawn.queries) if query.split != split]
    queries = tuple(drawn.queries[j] for j in kept)
    return dataclasses.replace(drawn, queries=queries, query_images=drawn.query_images[kept])


def record(stage: str, type: str, **facts: Any) -> Record:
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    values |= {name: {} for name in ("params", "inputs", "metrics", "reasons", "environment")}
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "facts": facts, "files": (), "seconds": 0.0}
    values["cost_usd"] = None
    return Record(**values)


def prepared(root: Path, dataset: Dataset | None = None) -> Input:
    """Write a data set as a prepare task does."""
    folder = root / "prepare"
    folder.mkdir(exist_ok=True)
    data.write(folder, dataset or data.draw_dataset())
    return Input(record("prepare", "dataset"), folder)


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders of one little flow, and its tasks; ``python`` has the double of the compiler."""

    root: Path
    python: str

    def prepared(self, dataset: Dataset | None = None) -> Input:
        return prepared(self.root, dataset)

    def student(self, model: onnx.ModelProto | None = None, spec: Preprocessing = data.SPEC) -> Input:
        folder = self.root / "student"
        folder.mkdir(exist_ok=True)
        onnx.save(model or network.model(), folder / "model.onnx")
        spec.write(folder)
        return Input(record("distill", "student", parameters=21504, architecture="small"), folder)

    def task(self, *inputs: Input, attempt: int = 1, python: str | None = "", **params: Any) -> Task:
        """Return a compile task; each attempt has an empty output and the same work folder."""
        work, output = self.root / "work", self.root / f"output-{attempt}"
        work.mkdir(exist_ok=True)
        output.mkdir()
        compiler = Compiler(python=self.python if python == "" else python)
        defaults = {"hw_arch": "hailo8l", "file": FILE, "script": Script("fast"), "calibration_images": IMAGES}
        wanted = CompileParams(**{**defaults, "compiler": compiler, **params})
        inputs = inputs or (self.student(), self.prepared())
        return Task("compile", "hailo", "small", "1.0", "optimized", "0" * 16, wanted, inputs, work, output)


def wrapper(folder: Path, failure: str = "", *, gpu: bool = False, first: str = "") -> str:
    """Write an interpreter that can import the compiler's double, with this failure and with or without a GPU."""
    file = folder / "dfc-python"
    lines = [
        "#!/bin/sh",
        f"export PYTHONPATH={DOUBLES} HAILO_DOUBLE='{failure}' HAILO_DOUBLE_PIDS={folder / 'pids'}",
        "export HAILO_DOUBLE_GPU=1" if gpu else "unset HAILO_DOUBLE_GPU",
        first,
        f'exec {sys.executable} "$@"',
    ]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def report_of(task: Task) -> dict[str, Any]:
    return dict(json.loads((task.output / "compilation_report.json").read_text()))


def count(task: Task, what: str) -> int:
    """Count the occurrences of a text in the compiler's log."""
    return (task.work / "telemetry" / "compiler.log").read_text().count(what)
