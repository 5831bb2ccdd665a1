"""Helpers for stages on images: folders as finished tasks leave them, and a network in numpy."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pokeflow import Input, Record, Task
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data, network


@dataclass(frozen=True)
class Numpy:
    """The small network, opened; pictures stay bytes until inference, as on a chip that normalizes."""

    spec: Preprocessing
    dim: int = network.DIM

    def prepare(self, squares: np.ndarray) -> np.ndarray:
        return squares

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return network.reference_embeddings(prepared, self.spec)


def open_network(folder: Path, spec: Preprocessing, threads: int) -> Numpy:
    return Numpy(spec)


def finished(stage: str, type: str, folder: Path, **facts: Any) -> Input:
    """Return an input as a finished task of this stage leaves it."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "facts": facts, "files": ()}
    return Input(Record(**values), folder)


@dataclass(frozen=True)
class Stage:
    """Tasks on the drawn data set and the small network, each in new folders below ``root``."""

    root: Path

    def folder(self, name: str) -> Path:
        path = self.root / f"{name}-{sum(1 for _ in self.root.iterdir())}"
        path.mkdir()
        return path

    def prepared(self, drawn: Dataset | None = None) -> Input:
        folder = self.folder("prepare")
        data.write(folder, drawn or data.draw_dataset())
        return finished("prepare", "dataset", folder)

    def model(self, spec: Preprocessing = data.SPEC, **facts: Any) -> Input:
        folder = self.folder("compile")
        network.write(folder, spec=spec)
        return finished("compile", "optimized", folder, **facts)

    def task(self, stage: str, params: Any, *inputs: Input) -> Task:
        named = (stage, "toy", "small", "1.0", "optimized", "0" * 64)
        return Task(
            *named, params, inputs or (self.model(), self.prepared()), self.folder("work"), self.folder("output")
        )


def without(split: str) -> Dataset:
    """Return the drawn data set without the queries of a split."""
    drawn = data.draw_dataset()
    kept = [row for row, query in enumerate(drawn.queries) if query.split != split]
    queries = tuple(drawn.queries[row] for row in kept)
    return dataclasses.replace(drawn, queries=queries, query_images=drawn.query_images[kept])
