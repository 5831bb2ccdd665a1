"""Stage ``profile`` of any target: the duration of each operator of a compiled model on this machine's CPU."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow.types import Result, Task
from pokeflow_vision import jsonfile, preprocessing
from pokeflow_vision.benchmark import SPLIT, device
from pokeflow_vision.network import model_and_data
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

FILE = "profiling_results.json"


@dataclass(frozen=True, slots=True)
class ProfileParams:
    """Parameters of a profile.

    Attributes:
        runs: Number of counted runs, with one picture each.
        warmup: Number of runs before the counted ones.
        threads: Threads of the runs.

    """

    runs: int = 50
    warmup: int = 5
    threads: int = 1


def check(params: ProfileParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of the parameters as (parameter, message) pairs, for a backend's ``check``."""
    for name, least in (("runs", 1), ("warmup", 0), ("threads", 1)):
        if getattr(params, name) < least:
            yield name, f"{getattr(params, name)} is below {least}"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator as the runtime ran it, with its mean duration per run in milliseconds.

    ``kernel`` names the code that ran; it is None if the runtime does not report it.
    """

    name: str
    type: str
    kernel: str | None
    milliseconds: float


Watch = Callable[[Path, Preprocessing, ProfileParams, Iterable["np.ndarray"], Path], Sequence[Operator]]
"""Function that runs a folder's model on each picture, uint8 1×size×size×3, and returns its operators in order.

The first ``warmup`` pictures do not count. Temporary files of the runtime go into the folder of the last argument."""


def run(task: Task, watch: Watch, *, framework: str, source: str) -> Result:
    """Profile the task's first model at batch 1, and write ``profiling_results.json``.

    ``operators_ms`` is the sum over the operators that ran, ``operators`` their number; ``source`` names the tool that
    measured. Profiling slows a model down: its speed is measured by the benchmark.
    """
    params: ProfileParams = task.params
    model, data = model_and_data(task)
    spec = data.preprocessing
    rows = data.queries_for(SPLIT, "profile")

    count = params.warmup + params.runs
    with progress.bar("profiling", count) as advance:

        def pictures() -> Iterable["np.ndarray"]:
            for i in range(count):
                yield preprocessing.to_square(data.query_images[[rows[i % len(rows)]]], spec)
                advance()

        operators = watch(model.folder, spec, params, pictures(), task.work)
    if not operators:
        raise PokeflowError(f"profile: {framework} reported no operator. Set more runs.")

    figures = {
        "operators_ms": (sum(operator.milliseconds for operator in operators), "ms"),
        "operators": (float(len(operators)), "operators"),
    }
    figure_source = f"{source}, on this machine's CPU, {device()}, {params.threads} thread{'s' * (params.threads > 1)}"
    facts: dict[str, Any] = {
        "device": device(),
        "framework": framework,
        "runs": params.runs,
        "threads": params.threads,
        "preprocessing": spec.hash,
    }
    sourced_figures = {
        name: {"value": value, "unit": unit, "source": figure_source} for name, (value, unit) in figures.items()
    }
    jsonfile.write(task.output / FILE, {**facts, "figures": sourced_figures, **_shares(operators)})
    return Result({name: value for name, (value, _) in figures.items()}, facts)


def _shares(executed: Sequence[Operator]) -> dict[str, list[dict[str, Any]]]:
    """Return ms per run and share of the total: of each operator in execution order, of each type longest first."""
    total = sum(operator.milliseconds for operator in executed) or 1.0
    operators: list[dict[str, Any]] = [
        {"name": o.name, "type": o.type, "kernel": o.kernel, "ms": o.milliseconds, "share": o.milliseconds / total}
        for o in executed
    ]
    types: list[dict[str, Any]] = []
    for kind in {o.type: None for o in executed}:
        ms = [o.milliseconds for o in executed if o.type == kind]
        types.append({"type": kind, "operators": len(ms), "ms": sum(ms), "share": sum(ms) / total})
    return {"operators": operators, "types": sorted(types, key=lambda entry: (-entry["ms"], entry["type"]))}
