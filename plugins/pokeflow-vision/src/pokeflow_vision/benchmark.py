"""Stage ``benchmark`` of any target: a model's accuracy on the test split, and its speed on this machine's CPU."""

import csv
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import progress
from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_vision import index, jsonfile, preprocessing, protocol, retrieval
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import Network, Opener, embed, gallery, model_and_data
from pokeflow_vision.recognizer import Recognizer

if TYPE_CHECKING:
    import numpy as np

SPLIT = "test"
FILE = "performance.json"
PERCENTILES = {50: 1, 95: 20, 99: 100}
"""Reported percentiles, each with the fewest runs for which it is meaningful."""
CPU, BOARD = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
TIMING = (
    "latency is the network alone at batch 1; preprocess is resizing one decoded picture and preparing it for the "
    "network; search is one look-up in the gallery; recognition is these three in a row. Decoding a file is in none "
    "of them"
)


@dataclass(frozen=True, slots=True)
class BenchmarkParams:
    """Parameters of a benchmark.

    Attributes:
        runs: Number of timed runs.
        warmup: Number of runs before the timed ones.
        threads: Threads of the timed runs.
        batch_sizes: Batch sizes of the throughput loops.
        max_seconds: Time after which a timing loop ends early. There is one loop for each batch size, and one each for
            preprocessing, search and the whole recognition; the result states the number of timed runs.
        embed_threads: Threads that compute the embeddings for the accuracy metrics (not timed); 0 uses all cores.

    """

    runs: int = 200
    warmup: int = 20
    threads: int = 1
    batch_sizes: tuple[int, ...] = (1, 8)
    max_seconds: float = 60.0
    embed_threads: int = 0


def check(params: Any) -> Iterable[tuple[str, str]]:
    """Yield the faults of the parameters as (parameter, message) pairs, for a backend's ``check``.

    A target's own parameter class may omit the thread counts.
    """
    for name, least in (("runs", 1), ("warmup", 0), ("threads", 1), ("embed_threads", 0)):
        if getattr(params, name, least) < least:
            yield name, f"{getattr(params, name)} is below {least}"
    if not params.max_seconds > 0:
        yield "max_seconds", f"{params.max_seconds} is not above 0"
    sizes = params.batch_sizes
    if 1 not in sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        yield (
            "batch_sizes",
            f"{list(sizes)} must be different sizes above 0 and include 1 (latency is measured at batch 1)",
        )


def run(task: Task, open_network: Opener, *, framework: str, size_mb: Callable[[Path], float]) -> Result:
    """Benchmark the task's first model on this machine's processor.

    Accuracies are fractions from 0 to 1 by the protocol of ``retrieval``; those by condition, on photos, are of the
    whole recognizer by that of ``protocol``. ``*_ms`` are percentiles of single runs in
    milliseconds, ``throughput_fps_batchN`` is in pictures per second through the network. ``power_w`` is None,
    because no sensor is read.

    Args:
        task: The task; its inputs hold a model and a prepared data set.
        open_network: Opens the network in a model's folder.
        framework: Runtime that executes the network, with its version.
        size_mb: Returns the size of the model's files in a folder, in units of 10^6 bytes.

    """
    params: BenchmarkParams = task.params
    model, data = model_and_data(task)
    spec = data.preprocessing
    queries = data.queries_for(SPLIT, "benchmark")

    network = open_network(model.folder, spec, params.embed_threads)
    cards = gallery(network, data)
    query_embeddings = embed(network, data.query_images, queries, spec, f"{SPLIT} queries")
    metrics, reasons = measure_accuracies(query_embeddings, cards.embeddings, data, queries)

    photo_folder = task.input(stage=PREPARE).folder
    photo_metrics, threshold = protocol.measure(Recognizer(spec, network, cards), data, photo_folder, task.output)
    cards = replace(cards, threshold=threshold)
    metrics |= photo_metrics

    timings = measure(open_network(model.folder, spec, params.threads), data, queries, cards.embeddings, params)
    figures, percentile_reasons = summary(timings)
    metrics |= figures | {"size_mb": size_mb(model.folder), "power_w": None}
    reasons |= percentile_reasons | {"power_w": "no sensor is read"}
    facts: dict[str, Any] = {
        "protocol": retrieval.protocol(data, SPLIT),
        "timing": TIMING,
        "preprocessing": spec.hash,
        "device": device(),
        "threads": params.threads,
        "runs": {t.name: len(t.milliseconds) for t in timings},
        "framework": framework,
        "embedding_dim": network.dim,
        "input_size": spec.size,
    }
    if (shared := retrieval.shared_artwork(data, SPLIT)) is not None:
        facts["shared_artwork"] = shared

    spec.write(task.output)
    index.write(task.output, cards)
    write_latencies(task.output / "latencies.csv", timings)
    report = {**facts, "metrics": metrics, "reasons": reasons, "sources": sources(metrics, params.threads)}
    jsonfile.write(task.output / FILE, report)
    return Result(metrics, facts, reasons)


def measure_accuracies(
    query_embeddings: "np.ndarray", gallery_embeddings: "np.ndarray", data: Dataset, queries: Sequence[int]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the accuracy metrics, and a reason for each one that is unknown.

    Args:
        query_embeddings: Embeddings of the queries, float32 M×D.
        gallery_embeddings: Embeddings of the gallery, float32 N×D.
        data: The data set.
        queries: Rows of ``data.queries``, in the order of ``query_embeddings``.

    """
    nearest, _ = retrieval.nearest(query_embeddings, gallery_embeddings, 5)
    metrics = dict(retrieval.accuracy(nearest, data, queries))
    reason = "the data set does not say which cards share an artwork"
    return metrics, {name: reason for name, value in metrics.items() if value is None}


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of the timed runs of one step, in milliseconds and in order; each run takes ``batch`` pictures."""

    name: str
    batch: int
    milliseconds: tuple[float, ...]


def measure(
    network: Network, data: Dataset, rows: Sequence[int], gallery_embeddings: "np.ndarray", params: BenchmarkParams
) -> list[Timing]:
    """Time the network at each batch size, and preprocessing, search and the whole recognition at batch 1.

    Args:
        network: The opened network.
        data: The data set.
        rows: Rows of ``data.query_images`` to time with; they repeat if a batch needs more.
        gallery_embeddings: Embeddings of the gallery, float32 N×D, rows of length 1.
        params: Batch sizes, numbers of runs and time limit.

    """
    import numpy as np

    spec = data.preprocessing

    def pictures(count: int) -> Any:
        images = data.query_images[[rows[i % len(rows)] for i in range(count)]]
        return network.prepare(preprocessing.to_square(images, spec))

    picture = np.array(data.query_images[rows[0]])
    query = retrieval.normalize_rows(network(pictures(1)))[0]

    def preprocess() -> Any:
        return network.prepare(preprocessing.to_square([picture], spec))

    def recognize() -> object:
        return index.search(gallery_embeddings, retrieval.normalize_rows(network(preprocess()))[0], 5)

    batches = {n: pictures(n) for n in params.batch_sizes}
    steps: list[tuple[str, int, Callable[[], object]]] = [
        *((f"batch{n}", n, lambda images=images: network(images)) for n, images in batches.items()),
        ("preprocess", 1, preprocess),
        ("search", 1, lambda: index.search(gallery_embeddings, query, 5)),
        ("recognition", 1, recognize),
    ]
    return [Timing(name, batch, tuple(time_runs(step, params, f"timing {name}"))) for name, batch, step in steps]


def time_runs(step: Callable[[], object], params: BenchmarkParams, label: str) -> Iterator[float]:
    """Yield the duration of each counted run in milliseconds.

    There is at least one run; no further one starts after ``max_seconds``. The warm-up stops after a tenth of that
    time, so that a slow step is still measured more than once.
    """
    loop_start = time.perf_counter()
    with progress.bar(label, params.warmup + params.runs) as advance:
        for _ in range(params.warmup):
            step()
            advance()
            if time.perf_counter() - loop_start > params.max_seconds / 10:
                break
        for _ in range(params.runs):
            start = time.perf_counter()
            step()
            end = time.perf_counter()
            yield (end - start) * 1000
            advance()
            if end - loop_start > params.max_seconds:
                break


def summary(timings: Sequence[Timing]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the metrics of all timings, and a reason for each percentile that has too few runs."""
    import numpy as np

    metrics: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for timing in timings:
        if timing.name.startswith("batch"):
            throughput = timing.batch * len(timing.milliseconds) / sum(timing.milliseconds) * 1000
            metrics[f"throughput_fps_{timing.name}"] = throughput
        else:
            metrics[f"{timing.name}_p50_ms"] = float(np.percentile(timing.milliseconds, 50))
        if timing.name == "batch1":
            for percent, least in PERCENTILES.items():
                name, runs = f"latency_p{percent}_ms", len(timing.milliseconds)
                metrics[name] = float(np.percentile(timing.milliseconds, percent)) if runs >= least else None
                if runs < least:
                    reasons[name] = f"{runs} runs were timed; this percentile needs {least} or more"
    return metrics, reasons


def sources(metrics: Mapping[str, float | None], threads: int) -> dict[str, str]:
    """Return the source of each known metric, as a phrase by the metric's name."""
    cpu = device()
    timing_source = (
        f"timed on this machine's CPU, {cpu}, {threads} thread{'s' * (threads > 1)}; every run is in latencies.csv"
    )
    accuracy_source = f"counted: answers to the {SPLIT} queries, embedded on this machine's CPU, {cpu}"
    source_by_suffix = {
        "accuracy": accuracy_source,
        "_ms": timing_source,
        "size_mb": "counted: bytes of the model's files",
    }
    source_by_metric = {
        name: next((kind for end, kind in source_by_suffix.items() if name.endswith(end)), timing_source)
        for name in metrics
    }
    return {name: source for name, source in source_by_metric.items() if metrics[name] is not None}


def write_latencies(file: Path, timings: Sequence[Timing]) -> None:
    """Write every single run as a CSV row: what, batch, run, milliseconds."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("what", "batch", "run", "milliseconds"))
        for timing in timings:
            name = "network" if timing.name.startswith("batch") else timing.name
            writer.writerows((name, timing.batch, i, f"{ms:.6f}") for i, ms in enumerate(timing.milliseconds))


def device() -> str:
    """Return the CPU's name, or the board's name if the CPU has none (as on ARM)."""
    names = (line.partition(":")[2].strip() for line in _read_text(CPU).splitlines() if line.startswith("model name"))
    board = _read_text(BOARD).strip("\0 \n")
    return next(names, "") or board or platform.processor() or platform.machine()


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
