"""What is checked of a benchmark: its figures, where each comes from, and every single run behind them."""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pokeflow.engine import told
from pokeflow.errors import PokeflowError, Unavailable
from pokeflow_vision import benchmark, index, retrieval
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import network
from pokeflow_vision.testing.bench import BENCHMARK, Bench
from pokeflow_vision.testing.breach import Breach, NotChecked
from pokeflow_vision.testing.compiling import is_simulated, require_done, require_sound_figures

DROP = 0.05
"""The share of queries that a compiled model may answer wrong where the float32 network is right."""
FIGURES = {
    "top1_accuracy": "the share of test queries answered right",
    "top5_accuracy": "the share with the right card among five",
    "latency_p50_ms": "the median of single runs at batch 1, in milliseconds",
    "latency_p95_ms": "their 95th percentile",
    "latency_p99_ms": "their 99th percentile",
    "size_mb": "10^6 bytes of the model's files",
}
RUN = "pokeflow_vision.benchmark.run does all of this, given the target's opener."


def benchmarks(bench: Bench, available: bool | None = None) -> None:
    """The compiled model can be measured, or the backend says in a sentence that it cannot be done here."""
    assert bench.compiled
    rule = "benchmark measures the compiled model, or raises pokeflow.Unavailable"
    require_done(bench.measurement, rule, f"open what compile left; {RUN}", available)


def figures_are_sound(bench: Bench) -> None:
    """Every figure of benchmark is a finite number, or None with a reason; facts are plain data."""
    require_sound_figures(bench.benchmarked, "benchmark")


def figures_are_there(bench: Bench) -> None:
    """Accuracy, latency, throughput and size are told; what is not known is None."""
    metrics = _metrics(bench)
    missing = [f"{name} ({what})" for name, what in FIGURES.items() if name not in metrics]
    if not any(name.startswith("throughput_fps_batch") for name in metrics):
        missing.append("throughput_fps_batch1 (pictures a second)")
    rule = "benchmark tells accuracy, latency percentiles, throughput and size, or None with a reason"
    if missing:
        raise Breach(rule, f"it lacks {', '.join(missing)}", RUN)
    times = [value for name in FIGURES if name.startswith("latency") and (value := metrics[name]) is not None]
    shares = [metrics["top1_accuracy"], metrics["top5_accuracy"]]
    if times != sorted(times) or any(time <= 0 for time in times):
        raise Breach(f"{rule}: p50 ≤ p95 ≤ p99, above 0", f"the latencies are {times}", RUN)
    if any(share is not None and not 0 <= share <= 1 for share in shares):
        raise Breach(f"{rule}: an accuracy is a share, 0 to 1", f"they are {shares}", RUN)


def figures_have_sources(bench: Bench) -> None:
    """``performance.json`` says where each figure comes from."""
    made, metrics = bench.benchmarked, _metrics(bench)
    rule = f"{benchmark.FILE} gives every figure that is known a source, and every other a reason"
    try:
        told = json.loads((made.folder / benchmark.FILE).read_text(encoding="utf-8"))
        sources, reasons = set(told["sources"]), set(told["reasons"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Breach(rule, f"{benchmark.FILE} cannot be read ({error!r})", RUN) from error
    known = {name for name, value in metrics.items() if value is not None}
    if lacking := sorted((known - sources) | (set(metrics) - known - reasons)):
        raise Breach(rule, f"nothing is said of {', '.join(lacking)}", RUN)


def every_run_is_kept(bench: Bench) -> None:
    """``latencies.csv`` has a row for every run, and the percentiles follow from them."""
    import numpy as np

    made = bench.benchmarked
    rule = "latencies.csv has a row a run (what, batch, run, milliseconds), and latency_p50_ms is their median"
    try:
        with (made.folder / "latencies.csv").open(newline="", encoding="utf-8") as source:
            rows = [(row["what"], int(row["batch"]), float(row["milliseconds"])) for row in csv.DictReader(source)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Breach(rule, f"it cannot be read ({error!r})", RUN) from error
    if (p50 := _metrics(bench).get("latency_p50_ms")) is None:
        raise NotChecked("latency_p50_ms is unknown")
    single = [milliseconds for what, batch, milliseconds in rows if (what, batch) == ("network", 1)]
    if not single or not np.isclose(np.percentile(single, 50), p50, rtol=1e-3):
        raise Breach(rule, f"{len(single)} runs of the network at batch 1 are there; latency_p50_ms is {p50}", RUN)
    runs = (made.result.facts if made.result else {}).get("runs")
    counts = Counter(f"batch{batch}" if what == "network" else what for what, batch, _ in rows)
    if isinstance(runs, Mapping) and dict(runs) != dict(counts):
        raise Breach(f"{rule}; facts tell how many runs were made", f"{dict(runs)} told, {dict(counts)} kept", RUN)


def accuracy_is_kept(bench: Bench) -> None:
    """The compiled model answers about as many queries right as the float32 network does."""
    if is_simulated(bench.compiled) or is_simulated(bench.benchmarked):
        raise NotChecked("the figures come from a double")
    data, found = bench.data, _metrics(bench).get("top1_accuracy")
    if found is None:
        raise NotChecked("top1_accuracy is unknown")
    rows = data.queries_of(benchmark.SPLIT)
    before, asked = network.embedded(data.references), network.embedded(data.query_images[rows])
    right = retrieval.top1_accuracy(retrieval.nearest(asked, before, 1)[0], data, rows)
    if found < right - DROP:
        raise Breach(
            f"a compiled model answers as the float32 network does, {DROP:.0%} fewer at most",
            f"{found:.1%} of the test queries are right, {right:.1%} were before",
            "compare embeddings layer by layer, beginning with prepare; calibrate on more pictures.",
        )


def gallery_is_left(bench: Bench) -> None:
    """The benchmark leaves the gallery that recognition looks up in."""
    rule = f"a benchmark leaves {index.FILE}: recognition and serving look cards up in it"
    try:
        found = index.read(bench.benchmarked.folder)
    except PokeflowError as error:
        raise Breach(rule, str(error), RUN) from error
    if found.preprocessing != bench.data.preprocessing.hash or len(found.card_ids) != len(bench.data.cards):
        raise Breach(rule, f"it has {len(found.card_ids)} rows of preprocessing {found.preprocessing}", RUN)


def other_preprocessing_is_refused(bench: Bench) -> None:
    """A compiled model that was made for other pictures is not measured."""
    import shutil

    source = bench.finished(bench.compiled)
    spec = Preprocessing(bench.data.preprocessing.size, (0.5,) * 3, (0.5,) * 3)

    def fill(folder: Any) -> None:
        shutil.copytree(source.folder, folder, dirs_exist_ok=True)
        spec.write(folder)

    made = bench.run(bench.task(BENCHMARK, (bench.input("compile", "optimized", fill), bench.prepared)))
    rule = "benchmark refuses a model whose preprocessing is not the data set's"
    mend = "preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), …); " + RUN
    if isinstance(made.error, Unavailable):
        raise NotChecked(str(made.error))
    if not isinstance(made.error, PokeflowError):
        raise Breach(rule, told(made.error) if made.error else "it was measured", mend)


def _metrics(bench: Bench) -> Mapping[str, float | None]:
    result = bench.benchmarked.result
    return getattr(result, "metrics", {})
