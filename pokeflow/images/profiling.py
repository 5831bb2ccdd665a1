"""Stage ``profile`` of any target: how long each operator of a compiled model takes where it runs."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow.images import dataset, preprocessing
from pokeflow.images.benchmark import SPLIT, device
from pokeflow.images.network import model_input
from pokeflow.images.preprocessing import Preprocessing
from pokeflow.types import Result, Task

if TYPE_CHECKING:
    import numpy as np

FILE = "profiling_results.json"


@dataclass(frozen=True, slots=True)
class ProfileParams:
    """How a model is watched: ``warmup`` runs that do not count, then ``runs`` that do, a picture each."""

    runs: int = 50
    warmup: int = 5
    threads: int = 1


def check(params: ProfileParams) -> Iterable[tuple[str, str]]:
    """Faults of the parameters, as a backend's ``check`` tells them."""
    for name, least in (("runs", 1), ("warmup", 0), ("threads", 1)):
        if getattr(params, name) < least:
            yield name, f"{getattr(params, name)} is below {least}"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator as the runtime ran it: ``kernel`` is the code that did, None if it does not tell; ms of each run."""

    name: str
    type: str
    kernel: str | None
    milliseconds: tuple[float, ...]


Watch = Callable[[Path, Preprocessing, int, Iterable["np.ndarray"], Path], Sequence[Operator]]
"""Runs the model of a folder, for this preprocessing, on so many threads, with each of these uint8 1×size×size×3.

Tells the operators' times of each run; what the runtime writes for that goes into the folder named last."""


def run(task: Task, watch: Watch, *, framework: str, source: str) -> Result:
    """Watch the task's first model at batch 1, and write ``profiling_results.json``.

    ``operators_p50_ms`` is the median of a run's sum over operators, ``operators`` how many ran. ``source`` tells who
    measured. Watching costs time itself: how fast a model is, its benchmark says.
    """
    import numpy as np

    params: ProfileParams = task.params
    model = model_input(task)
    data = dataset.read(task.input(stage="prepare").folder)
    spec = data.preprocessing
    preprocessing.require_same(spec, preprocessing.read(model.folder), model.record.task)
    rows = data.queries_of(SPLIT)
    if not rows:
        raise PokeflowError(f"profile: the data set has no {SPLIT} queries. Raise data.queries.{SPLIT}.")

    count = params.warmup + params.runs
    with progress.bar("profile", count) as advance:

        def pictures() -> Iterable["np.ndarray"]:
            for i in range(count):
                yield preprocessing.to_square(data.query_images[[rows[i % len(rows)]]], spec)
                advance()

        found = watch(model.folder, spec, params.threads, pictures(), task.work)
    if not found or any(len(operator.milliseconds) != count for operator in found):
        raise PokeflowError(f"profile: {framework} did not tell of every operator in each of {count} runs.")

    times = np.asarray([operator.milliseconds[params.warmup :] for operator in found])
    figures = {
        "operators_p50_ms": (float(np.percentile(times.sum(axis=0), 50)), "ms"),
        "operators": (float(len(found)), "operators"),
    }
    where = f"{source}, on this machine's CPU, {device()}, {params.threads} thread{'s' * (params.threads > 1)}"
    told = {
        "device": device(),
        "framework": framework,
        "runs": params.runs,
        "threads": params.threads,
        "preprocessing": spec.hash,
        "figures": {
            name: {"value": value, "unit": unit, "source": where} for name, (value, unit) in figures.items()
        },
        **_shares(found, times),
    }
    text = json.dumps(told, indent=2, ensure_ascii=False, sort_keys=True)
    (task.output / FILE).write_text(text + "\n", encoding="utf-8")
    facts = {"device": device(), "framework": framework, "runs": params.runs, "threads": params.threads}
    return Result({name: value for name, (value, _) in figures.items()}, facts)


def _shares(found: Sequence[Operator], times: "np.ndarray") -> dict[str, list[dict[str, Any]]]:
    """The mean ms of a run and its share of all, of each operator in the order they ran, and of each type."""
    means = times.mean(axis=1)
    whole = float(means.sum()) or 1.0
    operators: list[dict[str, Any]] = [
        {"name": o.name, "type": o.type, "kernel": o.kernel, "ms": float(ms), "share": float(ms) / whole}
        for o, ms in zip(found, means, strict=True)
    ]
    types = []
    for kind in sorted({o.type for o in found}):
        those = [o for o in operators if o["type"] == kind]
        ms = sum(o["ms"] for o in those)
        types.append({"type": kind, "operators": len(those), "ms": ms, "share": ms / whole})
    return {"operators": operators, "types": sorted(types, key=lambda entry: -entry["ms"])}
