"""Command ``package``: a compiled model as a signed release for small devices."""

import argparse
import dataclasses
import shlex

import pokeflow
from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow
from pokeflow.text import format_facts
from pokeflow.types import Input, Record
from pokeflow_edge.release.sign import sign

PACKAGE = "package"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--to", default="release", metavar="DIR", help="where it is written (default: release)")
    parser.add_argument("--key", metavar="FILE", help="the private key that signs it (default: the user's own)")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Build and sign the bundle of the configuration's compiled model, and print the facts of its release."""
    if own := [word for word in overrides if word.lstrip("+").startswith(("stages=", "publish="))]:
        raise ConfigError([Fault(own[0].partition("=")[0].lstrip("+"), "this command makes packages, nothing else.")])
    # The command is recorded with the task, which others read, so the key's path is left out.
    again = ["pokeflow", PACKAGE, *overrides, "--to", arguments.to, *(["--key", "FILE"] if arguments.key else [])]
    flow = dataclasses.replace(pokeflow.load([*overrides, f"stages=[{PACKAGE}]"]), command=shlex.join(again))
    record = make_package(flow)
    package = Input(record, pokeflow.open_store(flow).fetch(record))
    print(format_facts(sign(package, arguments.to, arguments.key)))
    return 0


def make_package(flow: Flow) -> Record:
    """Run the flow, and return the record of its only package; raise a ConfigError unless it has exactly one."""
    steps = [step.name for step in flow.steps if step.stage == PACKAGE]
    if not steps:
        message = "nothing is packaged. Choose a target that says how, such as target=cpu."
        raise ConfigError([Fault("target.package", message)])
    if len(steps) > 1:
        names = ", ".join(sorted(name.partition(":")[2] for name in steps))
        raise ConfigError([Fault("models", f"a release is of one model, and these are packaged: {names}. Choose one.")])
    return pokeflow.run(flow).records[steps[0]]
