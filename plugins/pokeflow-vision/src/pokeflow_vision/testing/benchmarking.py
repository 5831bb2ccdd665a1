"""Checks of a benchmark: its metrics, the source of each, and the single runs behind them."""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pokeflow.engine import error_message
from pokeflow.errors import PokeflowError, UnavailableError
from pokeflow_vision import benchmark, index, retrieval
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import network
from pokeflow_vision.testing.compiling import is_simulated, require_done, require_sound_figures
from pokeflow_vision.testing.harness import BENCHMARK, TargetHarness
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

DROP = 0.05
"""Largest allowed difference of top-1 accuracy between the float32 network and the compiled model, as a fraction."""
FIGURES = {
    "top1_accuracy": "the share of correct answers to test queries",
    "top5_accuracy": "the share with the right card among five",
    "latency_p50_ms": "the median of single runs at batch 1, in milliseconds",
    "latency_p95_ms": "their 95th percentile",
    "latency_p99_ms": "their 99th percentile",
    "size_mb": "10^6 bytes of the model's files",
}
RUN = "call pokeflow_vision.benchmark.run with the target's opener, which does all of this."


def benchmarks(harness: TargetHarness, available: bool | None = None) -> None:
    """Check that the compiled model can be measured, or that the backend says in a sentence why not here."""
    assert harness.compiled_model
    rule = "benchmark measures the compiled model, or raises pokeflow.UnavailableError"
    require_done(harness.measurement, rule, f"open the files that compile wrote; {RUN}", available)


def figures_are_sound(harness: TargetHarness) -> None:
    """Check that every metric of benchmark is a finite number, or None with a reason, and that facts are plain data."""
    require_sound_figures(harness.benchmark_result, "benchmark")


def figures_are_there(harness: TargetHarness) -> None:
    """Check that accuracy, latency, throughput and size are reported; unknown ones are None."""
    metrics = _metrics(harness)
    missing = [f"{name} ({description})" for name, description in FIGURES.items() if name not in metrics]
    if not any(name.startswith("throughput_fps_batch") for name in metrics):
        missing.append("throughput_fps_batch1 (pictures per second)")
    rule = "benchmark reports accuracy, latency percentiles, throughput and size, or None with a reason"
    if missing:
        raise ContractViolationError(rule, f"it lacks {', '.join(missing)}", RUN)
    times = [value for name in FIGURES if name.startswith("latency") and (value := metrics[name]) is not None]
    shares = [metrics["top1_accuracy"], metrics["top5_accuracy"]]
    if times != sorted(times) or any(time <= 0 for time in times):
        raise ContractViolationError(f"{rule}: p50 ≤ p95 ≤ p99, above 0", f"the latencies are {times}", RUN)
    if any(share is not None and not 0 <= share <= 1 for share in shares):
        raise ContractViolationError(f"{rule}: an accuracy is a share, 0 to 1", f"they are {shares}", RUN)


def figures_have_sources(harness: TargetHarness) -> None:
    """Check that ``performance.json`` states the source of each known metric, and a reason for each unknown one."""
    outcome, metrics = harness.benchmark_result, _metrics(harness)
    rule = f"{benchmark.FILE} has a source for every known metric, and a reason for every unknown one"
    try:
        report = json.loads((outcome.folder / benchmark.FILE).read_text(encoding="utf-8"))
        sources, reasons = set(report["sources"]), set(report["reasons"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractViolationError(rule, f"{benchmark.FILE} cannot be read ({error!r})", RUN) from error
    known_names = {name for name, value in metrics.items() if value is not None}
    if missing := sorted((known_names - sources) | (set(metrics) - known_names - reasons)):
        raise ContractViolationError(rule, f"it has neither for {', '.join(missing)}", RUN)


def every_run_is_kept(harness: TargetHarness) -> None:
    """Check that ``latencies.csv`` has a row for every run, and that latency_p50_ms is their median."""
    import numpy as np

    outcome = harness.benchmark_result
    rule = "latencies.csv has one row per run (what, batch, run, milliseconds), and latency_p50_ms is their median"
    try:
        with (outcome.folder / "latencies.csv").open(newline="", encoding="utf-8") as source:
            rows = [(row["what"], int(row["batch"]), float(row["milliseconds"])) for row in csv.DictReader(source)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractViolationError(rule, f"it cannot be read ({error!r})", RUN) from error
    if (p50 := _metrics(harness).get("latency_p50_ms")) is None:
        raise NotApplicableError("latency_p50_ms is unknown")
    durations = [milliseconds for step, batch, milliseconds in rows if (step, batch) == ("network", 1)]
    if not durations or not np.isclose(np.percentile(durations, 50), p50, rtol=1e-3):
        raise ContractViolationError(
            rule, f"it has {len(durations)} runs of the network at batch 1; latency_p50_ms is {p50}", RUN
        )
    runs = (outcome.result.facts if outcome.result else {}).get("runs")
    counts = Counter(f"batch{batch}" if step == "network" else step for step, batch, _ in rows)
    if isinstance(runs, Mapping) and dict(runs) != dict(counts):
        raise ContractViolationError(
            f"{rule}; the fact runs is their number", f"the fact is {dict(runs)}, the file has {dict(counts)}", RUN
        )


def accuracy_is_kept(harness: TargetHarness) -> None:
    """Check that the compiled model answers about as many queries correctly as the float32 network does."""
    if is_simulated(harness.compiled_model) or is_simulated(harness.benchmark_result):
        raise NotApplicableError("the metrics come from a simulator")
    data, accuracy = harness.data, _metrics(harness).get("top1_accuracy")
    if accuracy is None:
        raise NotApplicableError("top1_accuracy is unknown")
    rows = data.queries_of(benchmark.SPLIT)
    references, queries = (
        network.reference_embeddings(data.references),
        network.reference_embeddings(data.query_images[rows]),
    )
    expected = retrieval.top1_accuracy(retrieval.nearest(queries, references, 1)[0], data, rows)
    if accuracy < expected - DROP:
        raise ContractViolationError(
            f"a compiled model answers at most {DROP:.0%} fewer queries correctly than the float32 network",
            f"{accuracy:.1%} of the answers are correct, {expected:.1%} for the float32 network",
            "compare the networks layer by layer, starting with prepare; calibrate on more pictures.",
        )


def gallery_is_written(harness: TargetHarness) -> None:
    """Check that the benchmark writes the gallery in which recognition looks cards up."""
    rule = f"a benchmark writes {index.FILE}: recognition and serving look cards up in it"
    try:
        gallery = index.read(harness.benchmark_result.folder)
    except PokeflowError as error:
        raise ContractViolationError(rule, str(error), RUN) from error
    if gallery.preprocessing != harness.data.preprocessing.hash or len(gallery.card_ids) != len(harness.data.cards):
        raise ContractViolationError(
            rule, f"it has {len(gallery.card_ids)} rows and preprocessing {gallery.preprocessing}", RUN
        )


def other_preprocessing_is_refused(harness: TargetHarness) -> None:
    """Check that the benchmark refuses a compiled model with another preprocessing than the data set."""
    import shutil

    source = harness.as_input(harness.compiled_model)
    spec = Preprocessing(harness.data.preprocessing.size, (0.5,) * 3, (0.5,) * 3)

    def fill(folder: Any) -> None:
        shutil.copytree(source.folder, folder, dirs_exist_ok=True)
        spec.write(folder)

    outcome = harness.run(harness.task(BENCHMARK, (harness.input("compile", "optimized", fill), harness.data_input)))
    rule = "benchmark refuses a model whose preprocessing is not the data set's"
    remedy = "preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), …); " + RUN
    if isinstance(outcome.error, UnavailableError):
        raise NotApplicableError(str(outcome.error))
    if not isinstance(outcome.error, PokeflowError):
        raise ContractViolationError(rule, error_message(outcome.error) if outcome.error else "it was measured", remedy)


def _metrics(harness: TargetHarness) -> Mapping[str, float | None]:
    result = harness.benchmark_result.result
    return getattr(result, "metrics", {})
