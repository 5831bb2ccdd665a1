"""Stage ``benchmark``: accuracy of a HEF on the test split, and latency, throughput and power of its chip."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from pokeflow import Result, Task
from pokeflow_hailo import figures, hef
from pokeflow_hailo.device import chip, measured
from pokeflow_hailo.figures import Figure
from pokeflow_hailo.params import BenchmarkParams, Requires
from pokeflow_vision import benchmark, index, jsonfile, preprocessing, retrieval
from pokeflow_vision.benchmark import FILE, SPLIT, Timing
from pokeflow_vision.network import model_and_data

TIMED_PICTURES = 16
"""Test pictures that the timing loops cycle through."""
TIMING = (
    "latency: the network alone at batch 1, from passing a frame to receiving its embedding; throughput: several "
    "batches in flight. Neither includes resizing and search, which run on the host"
)
UPPER_BOUNDS = ("latency_p50_ms", "power_w")
"""Requirements that are upper bounds; all others are lower bounds."""


def run(task: Task) -> Result:
    """Benchmark the task's HEF on its chip.

    Returns:
        Accuracies as shares by ``retrieval``; ``latency_*_ms``, percentiles of single frames; ``hw_latency_ms`` on the
        chip alone; ``throughput_fps_batchN`` in pictures per second; ``temperature_c_max`` in degrees Celsius;
        ``power_w`` in watts; ``size_mb`` in 10^6 bytes.

    Raises:
        UnavailableError: If the chip or HailoRT is missing.

    """
    params: BenchmarkParams = task.params
    model, data = model_and_data(task)
    spec = data.preprocessing
    queries = data.queries_for(SPLIT, "benchmark")
    file = hef.find_hef(model)
    header = hef.read(file)
    spec.write(task.output)
    with chip.open_chip(params.device, params.python, file) as device:
        gallery = device.embed(data.references, range(len(data.cards)), spec, "gallery")
        query_embeddings = device.embed(data.query_images, queries, spec, f"{SPLIT} queries")
        squares = preprocessing.to_square(data.query_images[list(queries[:TIMED_PICTURES])], spec)
        measurement = device.time(
            squares,
            runs=params.runs,
            warmup=params.warmup,
            batch_sizes=params.batch_sizes,
            max_seconds=params.max_seconds,
        )
    cards = index.build(data, gallery)
    all_figures = _accuracies(query_embeddings, cards.embeddings, data, queries, simulated=device.simulated)
    all_figures |= measured.figures(measurement, simulated=device.simulated)
    all_figures["size_mb"] = Figure(file.stat().st_size / 1e6, "MB", "file", "bytes of the HEF")
    values, reasons = figures.metrics(all_figures)
    facts: dict[str, Any] = {
        "protocol": retrieval.protocol(data, SPLIT),
        "timing": TIMING,
        "preprocessing": spec.hash,
        "device": device.device,
        "chip": dict(device.about),
        "framework": device.framework,
        "hef": {"architecture": header.architecture, "compiler": header.compiler_version},
        "runs": {
            "latency": len(measurement.latencies),
            **{f"batch{p.batch}": len(p.done_ms) for p in measurement.passes},
        },
        "requirements": compare_requirements(params.requires, values, reasons),
        "embedding_dim": int(gallery.shape[1]),
        "input_size": spec.size,
    }
    if device.simulated:
        facts["simulated"] = True
    index.write(task.output, cards)
    benchmark.write_latencies(task.output / "latencies.csv", _timings(measurement))
    sources = {name: f"{f.source}: {f.how}" for name, f in all_figures.items() if f.value is not None}
    report = {
        **facts,
        "figures": figures.to_dicts(all_figures),
        "metrics": values,
        "reasons": reasons,
        "sources": sources,
        "temperatures": list(measurement.temperatures),
        "hailortcli": dict(measurement.said),
    }
    jsonfile.write(task.output / FILE, report)
    return Result(values, facts, reasons)


def compare_requirements(
    requires: Requires, values: Mapping[str, float | None], reasons: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return for each requirement that is set whether it is met or missed, or unknown with the reason."""
    results = {}
    for name, required in asdict(requires).items():
        value = values.get(name)
        if required is None:
            continue
        results[name] = {"at most" if name in UPPER_BOUNDS else "at least": required, "measured": value}
        if value is None:
            results[name] |= {"result": "unknown", "reason": reasons.get(name) or "it was not measured"}
        else:
            results[name]["result"] = (
                "met" if (value <= required if name in UPPER_BOUNDS else value >= required) else "missed"
            )
    return results


def _accuracies(
    query_embeddings: "np.ndarray", gallery: "np.ndarray", data: Any, queries: Any, *, simulated: bool
) -> dict[str, Figure]:
    values, reasons = benchmark.measure_accuracies(query_embeddings, gallery, data, queries)
    how = f"answers to the {SPLIT} queries, embedded on the chip"
    return {
        name: Figure(value, "share", "accuracy", how, reasons.get(name, ""), simulated)
        for name, value in values.items()
    }


def _timings(measurement: chip.Measurement) -> list[Timing]:
    """Return the times of single frames, and of pipelined batches the time since the previous batch finished."""
    gaps = [(loop.batch, np.diff(loop.done_ms, prepend=0.0)) for loop in measurement.passes]
    return [
        Timing("batch1", 1, measurement.latencies),
        *(Timing("pipelined", batch, tuple(map(float, times))) for batch, times in gaps),
    ]
