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
from pokeflow_torch import networks, together
from pokeflow_torch.profiling import clock, machine, page, rules, subject, tensors, trace
from pokeflow_torch.profiling.clock import Clock
from pokeflow_torch.profiling.subject import Subject
from pokeflow_torch.profiling.tensors import TensorStatistics
from pokeflow_torch.step import Stepper

log = logging.getLogger(__name__)
LEAST = 3
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
    chosen = subject.build(task, devices, 1 + params.warmup + params.steps + params.traced)
    seen = TensorStatistics()
    watch, stepper = _stepper(devices, task, chosen)
    steps = chosen.steps()
    with progress.bar(task.name, 1 + params.warmup + params.steps + params.traced) as advance:
        _look(stepper, watch, steps, seen)
        _made(stepper, watch, steps, params.warmup)
        advance(1 + params.warmup)
        if devices.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(devices.device)
        with machine.sample_machine(task.work, devices.device, params.sample_seconds) as samples:
            timed = _made(stepper, watch, steps, params.steps, params.max_seconds)
        advance(params.steps)
        peak, limit = _memory(devices.device, samples)
        with trace.profiler(devices.device) if devices.is_main_process else nullcontext() as profiler:
            traced = _made(stepper, watch, steps, params.traced)
        advance(params.traced)

    def end() -> dict[str, Any]:
        result = _write(task, chosen, devices, seen, timed, traced, samples, profiler, (peak, limit))
        return {"metrics": result.metrics, "facts": result.facts, "reasons": result.reasons}

    return Result(**together.same(devices, end))


def _stepper(devices: Accelerator, task: Task, chosen: Subject) -> tuple[Clock, Stepper]:
    watch = Clock(devices.device)
    stepper = Stepper(devices, task.name, chosen.learner, chosen.plan, watch.phase)
    stepper.begin(chosen.saved)
    return watch, stepper


def _look(stepper: Stepper, watch: Clock, steps: Iterator[tuple[int, np.ndarray]], seen: TensorStatistics) -> None:
    """Run one step, and record the statistics of all tensors in ``seen`` before the weights change."""
    scaler = stepper.machine.scaler
    scale = scaler.get_scale() if scaler is not None else 1.0

    def after(part: str) -> None:
        if part == "backward":
            tensors.weights_and_gradients(stepper.learner, scale, seen)

    watch.after = after
    with tensors.activations(stepper.learner.network, seen):
        _made(stepper, watch, steps, 1)
    watch.after = lambda _part: None


def _made(
    stepper: Stepper,
    watch: Clock,
    steps: Iterator[tuple[int, np.ndarray]],
    count: int,
    max_seconds: float = math.inf,
) -> Rows:
    """Run up to ``count`` steps, and return one row of times and metrics per step.

    After ``LEAST`` steps it stops early once ``max_seconds`` have passed; all processes stop at the same step.
    """
    rows, began = Rows(), watch.now()

    def over() -> bool:
        return len(rows) >= LEAST and watch.now() - began > max_seconds

    for step, labels in islice(steps, count):
        if math.isfinite(max_seconds) and together.same(stepper.machine, over):
            break
        with watch.step() as row:
            result = stepper.make(step, labels)
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

    return machine.most(samples, machine.PROCESS), psutil.virtual_memory().total / 1e6


def _write(
    task: Task,
    chosen: Subject,
    devices: Accelerator,
    seen: TensorStatistics,
    timed: Rows,
    traced: Rows,
    samples: Rows,
    profiler: Any,
    memory: tuple[float | None, float | None],
) -> Result:
    """Judge the rules, write all files and the report to ``task.output``, and return the metrics and facts."""
    model_input, device = task.inputs[0], devices.device
    for name in ("system", "framework", "tensors", "rules"):
        (task.output / name).mkdir()
    operators, held = trace.write(profiler, task.output / "framework")
    training, history = machine.of_training(model_input.folder), machine.history(model_input.folder)
    busy = machine.utilization(samples, device)
    findings = rules.judge(
        rules.Evidence(
            timed, samples, seen, history, device.type, busy, *memory, chosen.plan.optim.clip, chosen.left_out is None
        )
    )
    shares, middle = clock.shares(timed), clock.middle(timed)
    metrics: dict[str, float | None] = {
        "step_ms_p50": middle,
        "samples_per_second": chosen.batch / middle * 1000,
        **{f"{name}_share": share for name, share in shares.items()},
        "peak_memory_mb": memory[0],
        "utilization_percentage": busy,
        "training_step_ms_p50": machine.step_ms_of_training(model_input.folder),
        "findings": sum(finding.status == "found" for finding in findings),
    }
    reasons = {name: _why(name) for name, value in metrics.items() if value is None}
    facts = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "processes": devices.num_processes,
        "precision": chosen.loop.precision,
        "batch_size": chosen.batch,
        "steps": len(timed),
        "began_at": chosen.began_at,
        "left_out": chosen.left_out,
        "framework": networks.framework(),
        "rules": {finding.rule: finding.status for finding in findings},
        "peak_memory_counted": "reserved on the device" if device.type == "cuda" else "the process, dataset and all",
    }
    for name, rows in (("steps", samples), ("training", training)):
        _csv(task.output / "system" / f"{name}.csv", rows)
    for name, more in (("steps", timed), ("traced_steps", traced), ("operators", operators), ("memory", held)):
        _csv(task.output / "framework" / f"{name}.csv", more)
    for name, of in (("weights", seen.weights), ("gradients", seen.gradients), ("activations", seen.activations)):
        _csv(task.output / "tensors" / f"{name}.csv", of)
    for finding in findings:
        _json(task.output / "rules" / f"{finding.rule}.json", asdict(finding))
    _json(task.output / "framework" / "summary.json", {"metrics": metrics, "reasons": reasons, **facts})
    title = f"{task.model} {task.version}"
    about = (
        f"{len(timed)} training steps of {chosen.batch} views, precision {chosen.loop.precision}, on {facts['device']}"
        f"{f' in {devices.num_processes} processes' if devices.num_processes > 1 else ''}; {networks.framework()}. "
        f"They begin at {chosen.began_at}."
    )
    context = page.PageContext(
        title,
        about,
        chosen.left_out,
        metrics,
        reasons,
        shares,
        timed,
        operators,
        held,
        samples,
        training,
        seen,
        findings,
    )
    (task.output / page.FILE).write_text(page.page(context), encoding="utf-8")
    return Result(metrics, facts, reasons)


def _why(name: str) -> str:
    return {
        "utilization_percentage": "a GPU's is told with the package nvidia-ml-py, which is not installed",
        "training_step_ms_p50": "the result on this machine has no telemetry of its training",
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
