"""A compiled model as a signed release for small devices."""

import argparse
import dataclasses
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pokeflow
from pokeflow import plugins
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.flow import Flow
from pokeflow.text import format_facts
from pokeflow.types import Backend, Input, Record, Result, Task, load_params

PACKAGE, RELEASE = "package", "release"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--to", default=RELEASE, metavar="DIR", help=f"where it is written (default: {RELEASE})")
    parser.add_argument("--key", metavar="FILE", help="the private key that signs it (default: the user's own)")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Make the bundle of the configuration's compiled model, sign it, and print what was written."""
    if own := [word for word in overrides if word.lstrip("+").startswith(("stages=", "publish="))]:
        raise ConfigError([Fault(own[0].partition("=")[0].lstrip("+"), "this command makes packages, nothing else.")])
    # What is told of a task goes to others, who need not know where the key lies.
    again = ["pokeflow", PACKAGE, *overrides, "--to", given.to, *(["--key", "FILE"] if given.key else [])]
    flow = dataclasses.replace(pokeflow.load([*overrides, f"stages=[{PACKAGE}]"]), command=shlex.join(again))
    record = packaged(flow)
    backend, params = releaser(record, to=given.to, key=given.key)
    if record.simulated:
        raise PokeflowError(
            f"{record.task} is simulated: a double made it, and no such model is taken by stage {RELEASE!r}. Make it "
            "again where the real one is."
        )
    print(format_facts(released(flow, record, backend, params)))  # noqa: T201
    return 0


def packaged(flow: Flow) -> Record:
    """Return the record of the flow's one package, made if it is not there."""
    found = [step.name for step in flow.steps if step.stage == PACKAGE]
    if not found:
        message = "nothing is packaged. Choose a target that says how, such as target=cpu."
        raise ConfigError([Fault("target.package", message)])
    if len(found) > 1:
        names = ", ".join(sorted(name.partition(":")[2] for name in found))
        raise ConfigError([Fault("models", f"a release is of one model, and these are packaged: {names}. Choose one.")])
    return pokeflow.run(flow).records[found[0]]


def releaser(record: Record, **given: Any) -> tuple[Backend, Any]:
    """Return the backend that releases what this record's backend packaged, and its parameters as given."""
    registry = plugins.registry(plugins.manager())
    backend = registry.backends.get((RELEASE, record.backend))
    if backend is None:
        known = registry.backends_of(RELEASE)
        raise ConfigError([unknown(RELEASE, f"backend for stage {RELEASE!r} named", record.backend, known)])
    given = {name: value for name, value in given.items() if value is not None}
    fields = [field.name for field in dataclasses.fields(load_params(backend))]
    if faults := [unknown(RELEASE, "parameter", name, fields) for name in given if name not in fields]:
        raise ConfigError(faults)
    params = dataclasses.replace(load_params(backend)(), **given)
    if found := backend.faults(params):
        raise ConfigError([Fault(f"--{name}", message) for name, message in found])
    return backend, params


def released(flow: Flow, record: Record, backend: Backend, params: Any) -> Mapping[str, Any]:
    """Release a package and return the facts of the release."""
    package = Input(record, pokeflow.open_store(flow).fetch(record))
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        work, output = Path(temporary), Path(temporary) / "output"
        output.mkdir()
        task = Task.about(record, backend, params, inputs=(package,), work=work, output=output, shared=flow.shared)
        result = backend(task)
    return result.facts if isinstance(result, Result) else {}
