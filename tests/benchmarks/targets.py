"""A student and its compiled models on many queries: ``python -m tests.benchmarks.targets STORE CARDS``.

STORE is the store of ``pokeflow data=folder data.root=CARDS experiment=targets``; the student with most compiled
models in it is used. Its data set is prepared again with more views of each test and val card, so that a single
answer counts less than half a point. All networks answer the same queries, each against its own gallery; losses have
their standard error. The networks are timed in turns, so that a busy machine slows down all of them.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pokeflow import Task
from pokeflow_cards.params import FolderParams
from pokeflow_cards.stages import prepare
from pokeflow_onnxruntime import network as onnx
from pokeflow_openvino import network as openvino
from pokeflow_vision import dataset, preprocessing, retrieval
from pokeflow_vision.benchmark import device
from pokeflow_vision.comparison import embeddings_of
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import ONNX, Network, Opener, size_mb

OPENERS: dict[str, tuple[Opener, Sequence[str]]] = {
    "onnxruntime": (onnx.open_network, onnx.FILES),
    "openvino": (openvino.open_network, openvino.FILES),
}
GOAL = 0.5
"""Points of top-1 accuracy that a compiled model may lose."""
TURNS, RUNS = 20, 20


@dataclass(frozen=True, slots=True)
class Subject:
    """A network with its name: opened with every core for its answers, and with one thread for its latency."""

    name: str
    quick: Network
    timed: Network
    size_mb: float


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of a network: shares of right answers, points lost with their error, MB, and ms at batch 1."""

    name: str
    test: float
    both: float
    lost: float
    error: float
    agree: float
    size: float
    p50: float

    def __str__(self) -> str:
        met = "" if self.name.startswith("float32") else "yes" if self.lost <= GOAL else "NO"
        return (
            f"{self.name:24} {self.test:7.2%} {self.both:7.2%} {self.lost:+6.2f} ± {self.error:.2f}"
            f" {self.agree:9.2%} {self.size:7.2f} {self.p50:7.2f}  {met}"
        )


def records(store: Path, stage: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and record of the finished tasks of a stage."""
    for file in sorted((store / "tasks" / stage).glob("*/*/record.json")):
        yield file.parent, json.loads(file.read_text(encoding="utf-8"))


def family(store: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    """Return the student with most compiled models: its folder, theirs by backend, and its data's parameters."""
    compiled: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    for folder, record in records(store, "compile"):
        if record["backend"] in OPENERS:
            inputs = record["inputs"]
            (student,) = (content for task, content in inputs.items() if not task.startswith("prepare:"))
            compiled[student, inputs["prepare:data"]][record["backend"]] = folder
    if not compiled:
        raise SystemExit(f"{store}: no compiled model. Run pokeflow experiment=targets with this store.")
    (student, data), models = max(compiled.items(), key=lambda item: len(item[1]))
    (source, *_) = (folder for folder, record in records(store, "distill") if record["content"] == student)
    (params, *_) = (record["params"] for _, record in records(store, "prepare") if record["content"] == data)
    return source, models, params


def prepare_data(params: dict[str, Any], cards: str, views: int, folder: Path) -> Dataset:
    """Prepare the same cards in the same splits, with so many views each."""
    folder_params = msgspec.convert({**params, "root": cards}, FolderParams)
    folder_params = dataclasses.replace(folder_params, queries=dataclasses.replace(folder_params.queries, views=views))
    work, output = folder / "work", folder / "data"
    work.mkdir()
    output.mkdir()
    prepare.run_folder(Task("prepare", "folder", "data", "", "dataset", "", folder_params, (), work, output))
    return dataset.read(output)


def subjects(source: Path, models: dict[str, Path], data: Dataset) -> list[Subject]:
    """Return the float32 student in both runtimes, then its compiled models."""
    spec = data.preprocessing
    floats = size_mb(source, ONNX, f"{ONNX}[._]*")
    graph = source / ONNX
    return [
        Subject(
            "float32, ONNX Runtime", onnx.open_network(source, spec, 0), onnx.open_network(source, spec, 1), floats
        ),
        Subject(
            "float32, OpenVINO",
            openvino.open_file(graph, spec, 0),
            openvino.open_file(graph, spec, 1),
            floats,
        ),
        *(
            Subject(f"INT8, {name}", opened(folder, spec, 0), opened(folder, spec, 1), size_mb(folder, *files))
            for name, (opened, files) in OPENERS.items()
            if (folder := models.get(name))
        ),
    ]


def latencies(networks: Sequence[Subject], data: Dataset) -> list[float]:
    """Return each network's median ms at batch 1, on one thread, measured in turns."""
    picture = preprocessing.to_square(data.query_images[:1], data.preprocessing)
    inputs = [subject.timed.prepare(picture) for subject in networks]
    taken: list[list[float]] = [[] for _ in networks]
    for turn in range(TURNS + 1):
        for subject, prepared_input, times in zip(networks, inputs, taken, strict=True):
            for _ in range(RUNS):
                began = time.perf_counter()
                subject.timed(prepared_input)
                if turn:  # the first turn warms up
                    times.append((time.perf_counter() - began) * 1000)
    return [float(np.median(times)) for times in taken]


def compare(networks: Sequence[Subject], data: Dataset) -> Iterator[Line]:
    """Yield a line per network; losses are relative to the first one."""
    rows = data.queries_of("test") + data.queries_of("val")
    tests = len(data.queries_of("test"))
    row_of = {card.card_id: i for i, card in enumerate(data.cards)}
    truth = np.asarray([row_of[data.queries[row].card_id] for row in rows])
    answers = []
    for subject in networks:
        references, queries = embeddings_of(subject.quick, data, rows, subject.name)
        answers.append(retrieval.nearest(queries, references, 1)[0][:, 0])
    right = [answer == truth for answer in answers]
    for subject, answer, hits, p50 in zip(networks, answers, right, latencies(networks, data), strict=True):
        lost = right[0].astype(int) - hits
        yield Line(
            subject.name,
            float(hits[:tests].mean()),
            float(hits.mean()),
            100 * float(lost.mean()),
            100 * float(lost.std() / len(lost) ** 0.5),
            float((answer == answers[0]).mean()),
            subject.size_mb,
            p50,
        )


def main() -> None:
    """Compare the networks, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("cards")
    parser.add_argument("--views", type=int, default=32)
    args = parser.parse_args()
    source, models, params = family(args.store)
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_data(params, args.cards, args.views, Path(folder))
        tests, vals = (len(data.queries_of(split)) for split in ("test", "val"))
        print(f"{device()}, {onnx.FRAMEWORK}, {openvino.FRAMEWORK}")
        print(f"{tests} queries of test cards and {vals} of val cards against {len(data.cards)} references\n")
        print(f"{'':24} {'test':>7} {'both':>7} {'lost, points':>13} {'same':>9} {'MB':>7} {'ms':>7}  lost ≤ {GOAL}")
        for line in compare(subjects(source, models, data), data):
            print(line)


if __name__ == "__main__":
    main()
