"""A backend that a command runs once for a finished task, and its answer."""

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pokeflow import progress
from pokeflow.cli._tables import table
from pokeflow.engine import _records as records
from pokeflow.engine import worker
from pokeflow.errors import ConfigError, Fault, unknown
from pokeflow.flow import Flow, Service
from pokeflow.stages import PROJECT
from pokeflow.types import Input, Record, Result, Task


def asked(service: Service, **given: Any) -> Service:
    """The service with parameters from the command line; what is None was not given there."""
    backend, given = service.backend, {name: value for name, value in given.items() if value is not None}
    known = [field.name for field in dataclasses.fields(backend.params)]
    faults = [
        unknown(backend.stage, f"parameter of backend {backend.name!r} named", n, known)
        for n in given
        if n not in known
    ]
    if faults:
        raise ConfigError(faults)
    params = dataclasses.replace(service.params, **given)
    if found := backend.faults(params):
        raise ConfigError([Fault(f"{backend.stage}.{key}", message) for key, message in found])
    return Service(backend, params)


def run(
    flow: Flow, service: Service, about: Record | None = None, inputs: Iterable[Input] = (), model: str = PROJECT
) -> Result:
    """Have the service do its stage for the model that a record is about, for one by its name, or for the project.

    What it leaves is its answer alone. PokeflowError where what it is given is of a double.
    """
    inputs = tuple(inputs)
    records.refuse_doubles((item.record for item in inputs), f"taken by stage {service.backend.stage!r}")
    progress.heard()
    backend = service.backend
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        work, output = Path(temporary), Path(temporary) / "output"
        output.mkdir()
        given: dict[str, Any] = {"inputs": inputs, "work": work, "output": output, "shared": flow.shared}
        if about:
            task = Task.about(about, backend, service.params, **given)
        else:
            task = Task(
                stage=backend.stage,
                backend=backend.name,
                model=model,
                version="",
                type=PROJECT,
                digest="",
                params=service.params,
                **given,
            )
        return worker.run(task, backend)


def told(facts: Mapping[str, Any]) -> str:
    """Facts a line each, those that are not known left out."""
    rows = [(name, f"{value:,.6g}" if isinstance(value, float) else str(value)) for name, value in facts.items()]
    return "\n".join(table(("", ""), [row for row in rows if row[1] != "None"]).splitlines()[1:])
