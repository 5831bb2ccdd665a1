"""pokeflow package: a compiled model as a signed release for small devices."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from pokeflow import plugins, progress
from pokeflow.cli import _configured as configured
from pokeflow.cli import _services as services
from pokeflow.cli._arguments import asked
from pokeflow.engine import _runner as runner
from pokeflow.engine import now
from pokeflow.errors import ConfigError, Fault, unknown
from pokeflow.flow import Flow, Service
from pokeflow.store import _local as local
from pokeflow.types import Input, Record

PACKAGE, RELEASE = "package", "release"


def main(args: Sequence[str]) -> int:
    """Make the bundle of the configuration's compiled model, sign it, and print what was written."""
    parser = argparse.ArgumentParser("pokeflow package", description=__doc__)
    parser.add_argument("--to", default=RELEASE, metavar="DIR", help=f"where it is written (default: {RELEASE})")
    parser.add_argument("--key", metavar="FILE", help="the private key that signs it (default: the user's own)")
    given, overrides = asked(parser, args)
    if own := [word for word in overrides if word.lstrip("+").startswith(("stages=", "publish="))]:
        raise ConfigError([Fault(own[0].partition("=")[0].lstrip("+"), "this command makes packages, nothing else.")])
    registry = plugins.registry(plugins.manager())
    # What is told of a task goes to others, who need not know where the key lies.
    again = ["pokeflow", PACKAGE, *overrides, "--to", given.to, *(["--key", "FILE"] if given.key else [])]
    flow = dataclasses.replace(configured.flow([*overrides, f"stages=[{PACKAGE}]"]), command=shlex.join(again))
    record = packaged(flow, registry)
    service = released(registry, record, to=given.to, key=given.key)
    result = services.run(flow, service, record, [Input(record, local.of(flow).fetch(record))])
    print(services.told(result.facts))  # noqa: T201
    return 0


def packaged(flow: Flow, registry: plugins.Registry) -> Record:
    """The record of the flow's one package, made if it is not there."""
    found = [step.name for step in flow.steps if step.stage == PACKAGE]
    if not found:
        message = "nothing is packaged. Choose a target that says how, such as target=cpu."
        raise ConfigError([Fault("target.package", message)])
    if len(found) > 1:
        names = ", ".join(sorted(name.partition(":")[2] for name in found))
        raise ConfigError([Fault("models", f"a release is of one model, and these are packaged: {names}. Choose one.")])
    progress.heard()
    return runner.run(flow, registry, plugins.manager().hook, now()).records[found[0]]


def released(registry: plugins.Registry, record: Record, **given: Any) -> Service:
    """Who releases what this record's backend packaged, with the parameters given."""
    backend = registry.backends.get((RELEASE, record.backend))
    if backend is None:
        known = registry.backends_of(RELEASE)
        raise ConfigError([unknown(RELEASE, f"backend for stage {RELEASE!r} named", record.backend, known)])
    return services.asked(Service(backend, backend.params()), **given)
