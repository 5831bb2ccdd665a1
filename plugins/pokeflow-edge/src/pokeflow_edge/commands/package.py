"""Command ``package``: a compiled model as a signed release for small devices."""

import argparse
import dataclasses
import shlex

import pokeflow
from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow
from pokeflow.text import format_facts
from pokeflow.types import Input, Record
from pokeflow_edge.release import keys
from pokeflow_edge.release.sign import sign

PACKAGE = "package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--to", default="release", metavar="DIR", help="folder to write to (default: release)")
    parser.add_argument("--key", metavar="FILE", help="private key that signs the release (default: the user's own)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Build and sign the bundle of the configuration's compiled model, and print the facts of its release."""
    if fixed := [word for word in overrides if word.lstrip("+").startswith(("stages=", "publish="))]:
        raise ConfigError([Fault(fixed[0].partition("=")[0].lstrip("+"), "this command sets it itself. Leave it out.")])
    # The command is recorded with the task, which others read, so the key's path is left out.
    command = ["pokeflow", PACKAGE, *overrides, "--to", args.to, *(["--key", "FILE"] if args.key else [])]
    flow = dataclasses.replace(pokeflow.load([*overrides, f"stages=[{PACKAGE}]"]), command=shlex.join(command))
    keys.require_key(args.key)  # before the tasks, which may run for hours
    record = make_package(flow)
    package = Input(record, pokeflow.open_store(flow).fetch(record))
    print(format_facts(sign(package, args.to, args.key)))
    return 0


def make_package(flow: Flow) -> Record:
    """Run the flow, and return the record of its only package; raise a ConfigError unless it has exactly one."""
    steps = [step.name for step in flow.steps if step.stage == PACKAGE]
    if not steps:
        message = "no model is packaged. Choose a target with a package stage, such as target=cpu."
        raise ConfigError([Fault("target.package", message)])
    if len(steps) > 1:
        names = ", ".join(sorted(name.partition(":")[2] for name in steps))
        raise ConfigError([Fault("models", f"a release has one model, but these are packaged: {names}. Choose one.")])
    return pokeflow.run(flow).records[steps[0]]
