"""Tracking: a finished task as an MLflow run, with its parameters, figures, curves and small files.

Every step may be repeated, so a run that a kill left half written is found by its tags and completed.
"""

import dataclasses
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pokeflow import Record, Result, Task
from pokeflow_mlflow.address import redact
from pokeflow_mlflow.connection import connect, upload

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pokeflow_mlflow import TrackParams

log = logging.getLogger(__name__)

# MLflow's limits: lengths in characters, numbers per request.
KEY, PARAM, TAG = 250, 6000, 8000
METRICS, PAIRS = 1000, 100
TEXT = (".json", ".jsonl", ".md", ".txt", ".csv", ".yaml", ".yml", ".toml", ".html")
TEXT_BYTES = 1_000_000

Item = TypeVar("Item")


class Point(NamedTuple):
    """One value of a curve: metric, value, milliseconds since 1970, step."""

    name: str
    value: float
    time: int
    step: int


def run(task: Task) -> Result:
    """Make the run of the one record given; the same record again changes nothing.

    Facts: ``run_id``, ``experiment`` and ``uri``, the store's address without passwords.
    """
    params: TrackParams = task.params
    record, folder = task.inputs[0].record, task.inputs[0].folder
    name = params.experiments.get(record.model, params.project)
    with connect(params.uri) as connection:
        client, experiment = connection.client, connection.experiment(name)
        found = _find(client, experiment, record)
        run_id = found.info.run_id if found else _create(client, experiment, record)
        if found is None or found.info.status != "FINISHED":
            _fill(client, run_id, record, folder)
            # Under files/, so that nothing a backend writes can take the place of record.json.
            upload(
                f"tracking {record.task}",
                folder,
                (f for f in record.files if params.log_artifacts or _is_small_text(f.path, f.size)),
                lambda file, inside: client.log_artifact(run_id, file, f"files/{inside}".rstrip("/")),
            )
            client.set_terminated(run_id, "FINISHED", _milliseconds(record.finished))
    return Result(facts={"run_id": run_id, "experiment": name, "uri": redact(params.uri)})


def _find(client: "MlflowClient", experiment: str, record: Record) -> Any:
    where = f"tags.`pokeflow.digest` = '{record.digest}' and tags.`pokeflow.started` = '{record.started}'"
    return next(iter(client.search_runs([experiment], where, max_results=1)), None)


def _create(client: "MlflowClient", experiment: str, record: Record) -> str:
    # The tags that it is found by come with the run itself, in one transaction.
    tags = {"pokeflow.digest": record.digest, "pokeflow.started": record.started}
    created = client.create_run(experiment, _milliseconds(record.started), tags, run_name=record.task)
    return str(created.info.run_id)


def _fill(client: "MlflowClient", run_id: str, record: Record, folder: Path) -> None:
    from mlflow.entities import Metric, Param, RunTag

    for params in _chunks([Param(*pair) for pair in flatten(record.params).items()], PAIRS):
        client.log_batch(run_id, params=params)
    for tags in _chunks([RunTag(*pair) for pair in tags_of(record, folder).items()], PAIRS):
        client.log_batch(run_id, tags=tags)
    for points in _chunks(list(points_of(record, folder / "history.jsonl")), METRICS):
        client.log_batch(run_id, metrics=[Metric(*point) for point in points])
    client.log_text(run_id, as_json(record), "record.json")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as MLflow takes them: ``{"loss": {"kl": 1}}`` → ``{"loss.kl": "1"}``, within its lengths."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[_key(name)] = _cut(redact(_text(value)), PARAM)
    return flat


def tags_of(record: Record, folder: Path) -> dict[str, str]:
    """What a run is found by: all of a record that is neither a parameter nor a figure."""
    about = {name: getattr(record, name) for name in _TAGS}
    tags = {
        **{f"pokeflow.{name}": value for name, value in about.items()},
        "pokeflow.parents": json.dumps(dict(record.inputs)),
        "pokeflow.folder": str(folder.absolute()),
        **{f"pokeflow.fact.{name}": value for name, value in record.facts.items()},
        **{f"pokeflow.reason.{name}": value for name, value in record.reasons.items()},
        "mlflow.source.name": "pokeflow",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": record.environment.get("git"),
    }
    return {_key(name): _cut(redact(_text(value)), TAG) for name, value in tags.items() if value not in (None, "")}


_TAGS = (
    "digest", "started", "task", "stage", "model", "version", "type", "backend", "revision", "executor", "content",
)  # fmt: skip


def points_of(record: Record, history: Path) -> Iterator[Point]:
    """The curves of ``history.jsonl``, spread evenly over the task's time, and after them the final figures.

    The final figures carry the last step, so that they are what MLflow shows as the latest.
    """
    begin, end = _milliseconds(record.started), _milliseconds(record.finished)
    rows, last = _rows(history), 0
    for i, row in enumerate(rows, start=1):
        last = int(row.get("step", row.get("epoch", i)))
        time = begin + (end - begin) * i // (len(rows) + 1)
        for name, value in row.items():
            if name not in ("step", "epoch") and _is_number(value):
                yield Point(_key(name), float(value), time, last)
    for name, figure in {"seconds": record.seconds, "cost_usd": record.cost_usd, **record.metrics}.items():
        if figure is not None:
            yield Point(_key(name), float(figure), end, last)


def _rows(history: Path) -> list[dict[str, Any]]:
    """The lines that are objects with a usable step; a line cut off by a kill is left out."""
    rows = []
    lines = history.read_text(encoding="utf-8", errors="replace").splitlines() if history.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            int(row.get("step", row.get("epoch", 0)))
        except (ValueError, TypeError, AttributeError, OverflowError):
            log.warning("%s: line %d is no row of figures; left out", history, number)
        else:
            rows.append(row)
    return rows


def as_json(record: Record) -> str:
    """The record as text, without passwords."""
    text = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, default=str)
    return redact(text) + "\n"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_small_text(path: str, size: int) -> bool:
    return path.endswith(TEXT) and size <= TEXT_BYTES


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _key(name: str) -> str:
    """A name with nothing in it that MLflow refuses: odd characters, and what a path could go astray by."""
    return re.sub(r"[^\w\-. /]|(?<![^/])[./]+|/$", "_", name[:KEY]) or "_"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[i : i + size] for i in range(0, len(items), size))
