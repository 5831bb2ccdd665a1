"""Experiments on their way into the tracking store: each entry of the plan's ``mlflow`` is a backend's to bring."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pokeflow import plugins
from pokeflow.engine import worker
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.schema import parse
from pokeflow.types import Backend, Task
from pokeflow_migrate.plan import Plan
from pokeflow_migrate.report import Row

STAGE, NAME, FILE = "migrate", "mlflow", "migration.json"
STORE = ("uri", "endpoint", "region")
"""What of the configuration's ``tracking`` says where its store is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the plan, ready to be brought: the backend that does it, and its parameters."""

    where: str
    backend: Backend
    params: Any


@dataclass(frozen=True, slots=True)
class Brought:
    """What a backend tells of an entry. ``counts`` has, by what was counted, the source's number and the target's."""

    source: str
    target: str
    rows: tuple[Row, ...]
    counts: Mapping[str, tuple[int, int]]
    left: tuple[tuple[str, str], ...]
    problems: tuple[Fault, ...]


def entries(
    plan: Plan, base: Path, tracking: Mapping[str, Any], faults: list[Fault], *, dry_run: bool
) -> Iterator[Entry]:
    """The plan's entries; what is wrong with one is a fault. ``tracking`` are the configuration's parameters."""
    if not plan.mlflow:
        return
    registry = plugins.registry(plugins.manager())
    backend = registry.backends.get((STAGE, NAME))
    if backend is None:
        faults.append(unknown("mlflow", f"backend for stage {STAGE!r} named", NAME, registry.backends_of(STAGE)))
        return
    store = {key: tracking[key] for key in STORE if tracking.get(key) is not None}
    if "uri" not in store:
        faults.append(Fault("mlflow", "the configuration names no tracking store to bring them into. Say tracking=…"))
        return
    for i, runs in enumerate(plan.mlflow):
        given = {
            "source": runs.at,
            "base": str(base.absolute()),
            "experiments": runs.experiments,
            "artifacts": runs.artifacts,
            "source_endpoint": runs.endpoint,
            "source_region": runs.region,
            "dry_run": dry_run,
        }
        where, before = f"mlflow[{i}]", len(faults)
        params = parse(backend.params, given | store, where, faults)
        if len(faults) == before:
            names = {"source": f"{where}.from", **{key: f"tracking.{key}" for key in STORE}}
            found = _checked(backend, params, where)
            faults += [Fault(names.get(key, f"{where}.{key}"), message) for key, message in found]
        if len(faults) == before:
            yield Entry(where, backend, params)


def _checked(backend: Backend, params: Any, where: str) -> list[tuple[str, str]]:
    try:
        return backend.faults(params)
    except ConfigError:
        raise
    except PokeflowError as error:
        raise ConfigError([Fault(f"{where}.from", str(error))]) from error


def bring(entry: Entry, name: str, folder: Path | None) -> Brought:
    """Have an entry brought; what the backend needs meanwhile lies in ``folder``, in a temporary one if it is None."""
    with _work(folder) as work:
        output = work / "output"
        output.mkdir()
        task = Task(
            stage=STAGE,
            backend=entry.backend.name,
            model=name,
            version="",
            type="",
            digest="",
            params=entry.params,
            inputs=(),
            work=work,
            output=output,
        )
        worker.run(task, entry.backend)
        told = json.loads((output / FILE).read_bytes())
    return Brought(
        source=told["from"],
        target=told["to"],
        rows=tuple(Row(r["source"], r["target"], r["size"], "", "", r["done"], verified=r["verified"], note=r["note"])
                   for r in told["rows"]),
        counts={what: (there, here) for what, (there, here) in told["counts"].items()},
        left=tuple((path, why) for path, why in told["left"]),
        problems=tuple(Fault(where, text) for where, text in told["problems"]),
    )  # fmt: skip


@contextmanager
def _work(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with TemporaryDirectory(prefix="pokeflow-") as temporary:
            yield Path(temporary)
        return
    # What a kill left here is of no use: what has been brought is known from the target alone.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
