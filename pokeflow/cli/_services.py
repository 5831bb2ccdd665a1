"""What the cloud's commands have in common: a service of the configuration, the bundle it is for, and its answer."""

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pokeflow import progress
from pokeflow.cli._tables import table
from pokeflow.engine import _records as records
from pokeflow.engine import worker
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.flow import PROJECT, REGISTER, Flow, Service
from pokeflow.store import _local as local
from pokeflow.types import Input, Record, Result, Task

BUNDLE = "bundle"


def service(flow: Flow, stage: str) -> Service:
    """Who does this stage for the project; ConfigError where the configuration names nobody."""
    if stage not in flow.cloud:
        message = f"nobody is named for it. Choose cloud=sagemaker, or give cloud.{stage} a backend."
        raise ConfigError([Fault(f"cloud.{stage}", message)])
    return flow.cloud[stage]


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
        raise ConfigError([Fault(f"cloud.{backend.stage}.params.{key}", message) for key, message in found])
    return Service(backend, params)


def bundle(flow: Flow, model: str | None) -> Record:
    """The bundle that was finished last, or a model's; PokeflowError where there is none but a double's."""
    found = sorted(local.of(flow).shared_records(BUNDLE), key=lambda record: record.finished, reverse=True)
    known = {record.model for record in found}
    if model is not None and known and model not in known:
        raise ConfigError([unknown("model", "bundle of a model named", model, known)])
    mine = [record for record in found if model in (None, record.model)]
    real = [record for record in mine if not record.simulated]
    if mine and not real:
        records.refuse_doubles(mine[:1], "served")
    if not real:
        raise PokeflowError(
            f"{flow.shared.uri if flow.shared else flow.root}: there is no bundle yet. Run 'pokeflow' first: "
            "its stage 'bundle' makes one for each model. Or name another store."
        )
    return real[0]


def shared_bundle(flow: Flow, model: str | None) -> tuple[Record, tuple[Input, ...]]:
    """The same once the bucket has it, for a machine that reads it there; with its newest registration, if any."""
    record, place = bundle(flow, model), local.of(flow)
    if flow.shared:
        place.require_shared(record)
    registered = [r for r in place.shared_records(REGISTER) if r.inputs.get(record.task) == record.content]
    newest = sorted(registered, key=lambda r: r.finished)[-1:]
    return record, tuple(Input(r, place.folder(r)) for r in (record, *newest))


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
    of = (about.model, about.version, about.type, about.digest) if about else (model, "", PROJECT, "")
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        work, output = Path(temporary), Path(temporary) / "output"
        output.mkdir()
        return worker.run(
            Task(backend.stage, backend.name, *of, service.params, inputs, work, output, flow.shared), backend
        )


def told(facts: Mapping[str, Any]) -> str:
    """Facts a line each, those that are not known left out."""
    rows = [(name, f"{value:,.6g}" if isinstance(value, float) else str(value)) for name, value in facts.items()]
    return "\n".join(table(("", ""), [row for row in rows if row[1] != "None"]).splitlines()[1:])
