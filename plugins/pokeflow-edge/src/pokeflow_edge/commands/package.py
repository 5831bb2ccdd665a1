"""Command ``package``: a compiled model as a signed release for small devices."""

import argparse
import dataclasses
import os
import shlex
from pathlib import Path

import pokeflow
from pokeflow.errors import ConfigError, Fault, PokeflowError
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
    _require_writable(args.to, "--to")  # this and the key before the tasks, which may run for hours
    _require_key(args.key)
    record = make_package(flow)
    package = Input(record, pokeflow.open_store(flow).fetch(record))
    print(format_facts(sign(package, args.to, args.key)))
    return 0


def _require_key(path: str | None) -> None:
    if path == "":
        raise ConfigError([Fault("--key", "is empty. Give the path of the private key, or leave the option out.")])
    try:
        keys.require_key(path)
        file = keys.key_file(path)
    except PokeflowError as error:
        raise ConfigError([Fault("--key" if path else keys.VARIABLE, str(error))]) from error
    if not file.exists():
        _require_writable(str(file.parent), "--key")


def _require_writable(path: str, label: str) -> None:
    """Raise a ConfigError if files cannot be written to a folder, or the folder cannot be created."""
    try:
        folder = Path(path).expanduser().absolute()
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError([Fault(label, f"{path!r} cannot be a folder ({error}). Give another path.")]) from error
    if not existing.is_dir():
        raise ConfigError([Fault(label, f"{str(existing)!r} is not a folder. Give another path.")])
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError([Fault(label, f"no permission to write to {str(existing)!r}. Give another path.")])


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
