"""Report of a distillation: teacher, student, loss terms, history and final metrics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pokeflow.types import Record, Result, Task
from pokeflow_torch import extensions
from pokeflow_torch.params import DistillParams, Network, describe_weights

FILE = "distillation_report.json"
HISTORY = (
    "one row an epoch: train_loss is the weighted sum that was minimized, each train_<term>_loss the term before its "
    "weight, both means over the epoch's batches; other figures are of the val queries"
)


def write(task: Task, result: Result, teacher: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> None:
    """Write ``distillation_report.json`` to the task's output; the same task gives the same text.

    Unknown metrics are null, with a reason in the ``reasons`` of the same object.

    Args:
        task: The distillation.
        result: Result of the task.
        teacher: The teacher's architecture, parameters, and top1_accuracy on the val queries.
        history: Rows of the training history, one per epoch.

    """
    params: DistillParams = task.params
    begins_at, begin_reasons = _initial_student(task, params.network)
    report = {
        "teacher": {**_describe_record(task.input(type="teacher").record), **teacher, "reasons": _reasons(teacher)},
        "student": {
            "architecture": result.facts["architecture"],
            "parameters": result.facts["parameters"],
            "begins_at": begins_at,
            "reasons": begin_reasons,
        },
        "compression_ratio": result.facts["compression_ratio"],
        "compression_counted": result.facts["compression_counted"],
        "losses": {
            "weights": dict.fromkeys(extensions.own_names(extensions.LOSSES), 0.0) | dict(params.losses),
            "temperature": params.temperature,
            "margin": asdict(params.margin),
        },
        "epochs": params.loop.epochs,
        "history": list(history),
        "history_tells": HISTORY,
        "final": {**result.metrics, "reasons": dict(result.reasons)},
        "protocol": result.facts["protocol"],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=True)
    (task.output / FILE).write_text(text + "\n", encoding="utf-8")


def _describe_record(record: Record) -> dict[str, str]:
    return {"task": record.task, "digest": record.digest, "content": record.content}


def _reasons(teacher: Mapping[str, Any]) -> dict[str, str]:
    return {name: "not measured" for name, value in teacher.items() if value is None}


def _initial_student(task: Task, network: Network) -> tuple[dict[str, str] | None, dict[str, str]]:
    """Return the student that supplied the initial weights; or None, and a reason that names their source."""
    for item in task.inputs:
        if item.record.type == "student":
            return _describe_record(item.record), {}
    return None, {"begins_at": f"no student is among the inputs; training began at {describe_weights(network)}"}
