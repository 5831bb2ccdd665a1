"""Stage ``profile``: runs the last steps of a training again under a profiler.

system/      system metrics during these steps, and during the training if its telemetry is available
framework/   PyTorch's trace; tables of operators, memory and steps
tensors/     statistics of weights, gradients and activations
rules/       one finding per rule
profiler-report.html   all of it on one page
"""

import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from pokeflow import progress
from pokeflow.types import Result, Task
from pokeflow_torch import distributed, networks
from pokeflow_torch.profiling import clock, machine, page, rules, subject, tensors, trace
from pokeflow_torch.profiling.clock import Clock
from pokeflow_torch.profiling.subject import Subject
from pokeflow_torch.profiling.tensors import TensorStatistics
from pokeflow_torch.step import Stepper

log = logging.getLogger(__name__)
MIN_STEPS = 3
"""Number of steps that are timed regardless of their duration."""
Rows = list[dict[str, float]]


def run(task: Task) -> Result:
    """Profile the training of the model that is the first input, and write the report to ``task.output``.

    The steps are one with tensor statistics, ``warmup`` untimed ones, up to ``steps`` timed ones and ``traced`` ones.

    Raises:
        PokeflowError: If another backend trained the model.

    """
    params = task.params
    devices = subject.accelerator(task)
    profiled = subject.build(task, devices, 1 + params.warmup + params.steps + params.traced)
    statistics = TensorStatistics()
    timer, stepper = _stepper(devices, task, profiled)
    steps = profiled.steps()
    with progress.bar(task.name, 1 + params.warmup + params.steps + params.traced) as advance:
        _record_statistics(stepper, timer, steps, statistics)
        _run_steps(stepper, timer, steps, params.warmup)
        advance(1 + params.warmup)
        if devices.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(devices.device)
        with machine.sample_machine(task.work, devices.device, params.sample_seconds) as samples:
            timed_rows = _run_steps(stepper, timer, steps, params.steps, params.max_seconds)
        advance(params.steps)
        peak, limit = _memory(devices.device, samples)
        with trace.profiler(devices.device) if devices.is_main_process else nullcontext() as profiling:
            traced_rows = _run_steps(stepper, timer, steps, params.traced)
        advance(params.traced)

    def end() -> dict[str, Any]:
        result = _write(task, profiled, devices, statistics, timed_rows, traced_rows, samples, profiling, (peak, limit))
        return {"metrics": result.metrics, "facts": result.facts, "reasons": result.reasons}

    return Result(**distributed.run_on_main(devices, end))


def _stepper(devices: Accelerator, task: Task, profiled: Subject) -> tuple[Clock, Stepper]:
    timer = Clock(devices.device)
    stepper = Stepper(devices, task.name, profiled.learner, profiled.plan, timer.phase)
    stepper.begin(profiled.state)
    return timer, stepper


def _record_statistics(
    stepper: Stepper, timer: Clock, steps: Iterator[tuple[int, np.ndarray]], statistics: TensorStatistics
) -> None:
    """Run one step, and record the statistics of all tensors in ``statistics`` before the weights change."""
    scaler = stepper.accelerator.scaler
    scale = scaler.get_scale() if scaler is not None else 1.0

    def after(part: str) -> None:
        if part == "backward":
            tensors.weights_and_gradients(stepper.learner, scale, statistics)

    timer.after = after
    with tensors.activations(stepper.learner.network, statistics):
        _run_steps(stepper, timer, steps, 1)
    timer.after = lambda _part: None


def _run_steps(
    stepper: Stepper,
    timer: Clock,
    steps: Iterator[tuple[int, np.ndarray]],
    count: int,
    max_seconds: float = math.inf,
) -> Rows:
    """Run up to ``count`` steps, and return one row of times and metrics per step.

    After ``MIN_STEPS`` steps it stops early once ``max_seconds`` have passed; all processes stop at the same step.
    """
    rows, start = Rows(), timer.now()

    def is_over() -> bool:
        return len(rows) >= MIN_STEPS and timer.now() - start > max_seconds

    for step, labels in islice(steps, count):
        if math.isfinite(max_seconds) and distributed.run_on_main(stepper.accelerator, is_over):
            break
        with timer.step() as row:
            result = stepper.train_step(step, labels)
        rows.append({"step": step + 1, **row, "gradient_norm": float(result.norm), "lr": result.lr, **result.values})
    return rows


def _memory(device: torch.device, samples: Rows) -> tuple[float | None, float | None]:
    """Return the peak of memory in the timed steps and the memory available, both in megabytes (10^6 bytes).

    They are those of the GPU, or of the process and the machine on a CPU; None if unknown.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return torch.cuda.max_memory_reserved(device) / 1e6, total / 1e6
    import psutil

    return machine.largest(samples, machine.PROCESS), psutil.virtual_memory().total / 1e6


def _write(
    task: Task,
    profiled: Subject,
    devices: Accelerator,
    statistics: TensorStatistics,
    timed_rows: Rows,
    traced_rows: Rows,
    samples: Rows,
    profiling: Any,
    memory: tuple[float | None, float | None],
) -> Result:
    """Judge the rules, write all files and the report to ``task.output``, and return the metrics and facts."""
    training_input, device = task.inputs[0], devices.device
    for name in ("system", "framework", "tensors", "rules"):
        (task.output / name).mkdir()
    operators, memory_rows = trace.write(profiling, task.output / "framework")
    training, history = machine.training_samples(training_input.folder), machine.history(training_input.folder)
    utilization = machine.utilization(samples, device)
    findings = rules.judge(
        rules.Evidence(
            timed_rows,
            samples,
            statistics,
            history,
            device.type,
            utilization,
            *memory,
            profiled.plan.optim.clip,
            profiled.left_out is None,
        )
    )
    shares, median_ms = clock.shares(timed_rows), clock.median_ms(timed_rows)
    metrics: dict[str, float | None] = {
        "step_ms_p50": median_ms,
        "samples_per_second": profiled.batch / median_ms * 1000,
        **{f"{name}_share": share for name, share in shares.items()},
        "peak_memory_mb": memory[0],
        "utilization_percentage": utilization,
        "training_step_ms_p50": machine.training_step_ms(training_input.folder),
        "findings": sum(finding.status == "found" for finding in findings),
    }
    reasons = {name: _reason(name) for name, value in metrics.items() if value is None}
    facts = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "processes": devices.num_processes,
        "precision": profiled.loop.precision,
        "batch_size": profiled.batch,
        "steps": len(timed_rows),
        "began_at": profiled.began_at,
        "left_out": profiled.left_out,
        "framework": networks.framework(),
        "rules": {finding.rule: finding.status for finding in findings},
        "peak_memory_counted": "reserved on the device" if device.type == "cuda" else "process, including the data set",
    }
    for name, rows in (("steps", samples), ("training", training)):
        _csv(task.output / "system" / f"{name}.csv", rows)
    for name, more in (
        ("steps", timed_rows),
        ("traced_steps", traced_rows),
        ("operators", operators),
        ("memory", memory_rows),
    ):
        _csv(task.output / "framework" / f"{name}.csv", more)
    for name, of in (
        ("weights", statistics.weights),
        ("gradients", statistics.gradients),
        ("activations", statistics.activations),
    ):
        _csv(task.output / "tensors" / f"{name}.csv", of)
    for finding in findings:
        _json(task.output / "rules" / f"{finding.rule}.json", asdict(finding))
    _json(task.output / "framework" / "summary.json", {"metrics": metrics, "reasons": reasons, **facts})
    title = f"{task.model} {task.version}"
    description = (
        f"{len(timed_rows)} training steps of {profiled.batch} views, precision {profiled.loop.precision}, "
        f"on {facts['device']}{f' in {devices.num_processes} processes' if devices.num_processes > 1 else ''}; "
        f"{networks.framework()}. "
        f"They start from {profiled.began_at}."
    )
    context = page.PageContext(
        title,
        description,
        profiled.left_out,
        metrics,
        reasons,
        shares,
        timed_rows,
        operators,
        memory_rows,
        samples,
        training,
        statistics,
        findings,
    )
    (task.output / page.FILE).write_text(page.page(context), encoding="utf-8")
    return Result(metrics, facts, reasons)


def _reason(name: str) -> str:
    return {
        "utilization_percentage": "a GPU's utilization needs the package nvidia-ml-py, which is not installed",
        "training_step_ms_p50": "the training has no telemetry on this machine",
    }.get(name, "it could not be sampled")


def _csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV table with a column for every name in any row; without rows the file is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
        if names:
            writer.writeheader()
        writer.writerows(rows)


def _json(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
