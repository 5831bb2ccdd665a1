"""Command ``doctor``, which lists the requirements that this machine meets, and those that are missing."""

import argparse
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pokeflow
from pokeflow import plugins
from pokeflow.config import conf_dir
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, ObjectStore, PreconditionError
from pokeflow.text import table

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CHECKS = "pokeflow.doctor"
"""Entry-point group of functions that yield a row ``(status, name, text)`` for each requirement of a plugin."""
STATUSES = ("ok", "absent", "missing")
"""Status of a row: ``absent`` may be needed by some configuration, ``missing`` is needed by this one (exit code 1)."""
MIN_FREE_BYTES = 5_000_000_000
"""Free disk space in bytes below which a run may not finish."""
Row = tuple[str, str, str]


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print a row for each requirement of a run; return 1 if something that the configuration needs is missing."""
    rows = [*_machine(), *_packages(), *_plugin_checks(), *_plugins(), *_configuration(overrides)]
    print(table(("status", "requirement", "details"), rows))
    return int(any(status == "missing" for status, _, _ in rows))


def _machine() -> Iterator[Row]:
    yield "ok", "python", f"{platform.python_version()} on {platform.platform()}"
    yield "ok", "cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def _packages() -> Iterator[Row]:
    """Yield a row for each package that pokeflow or a plugin requires, with the distributions that require it."""
    from packaging.requirements import InvalidRequirement, Requirement

    distributions = {e.dist.name: e.dist for e in metadata.entry_points(group=plugins.GROUP) if e.dist}
    requirements: dict[str, dict[str, Requirement]] = {}
    for name, distribution in sorted(distributions.items()):
        for text in distribution.requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue  # installers report it
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                requirements.setdefault(requirement.name, {})[name] = requirement
    for package in sorted(requirements.keys() - distributions.keys()):
        yield _package(package, requirements[package])


def _package(name: str, requirements: Mapping[str, "Requirement"]) -> Row:
    requirers = ", ".join(requirements)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent", name, f"not installed; required by {requirers}"
    for plugin, requirement in requirements.items():
        if not requirement.specifier.contains(version, prereleases=True):
            return "absent", name, f"{version}, but {plugin} requires {requirement.specifier}"
    return "ok", name, f"{version} (for {requirers})"


def _plugin_checks() -> Iterator[Row]:
    """Yield the rows of the plugins' own checks; a check that cannot be loaded or fails yields a row that says so."""
    for entry in sorted(metadata.entry_points(group=CHECKS), key=lambda entry: entry.name):
        try:
            rows = [_checked_row(row) for row in entry.load()()]
        except Exception as error:  # noqa: BLE001 - whatever it raises, the other rows are worth reading
            rows = [("missing", entry.name, f"its check ({entry.value}) failed: {type(error).__name__}: {error}")]
        yield from rows


def _checked_row(row: Any) -> Row:
    status, name, text = row
    if status not in STATUSES:
        raise ValueError(f"{status!r} is not a status. Known: {', '.join(STATUSES)}")
    return status, str(name), str(text)


def _plugins() -> Iterator[Row]:
    try:
        registry = plugins.registry(plugins.manager())
    except PokeflowError as error:
        yield "missing", "plugins", str(error)
        return
    for stage in registry.stages:
        yield "ok", f"stage {stage}", ", ".join(registry.backends_of(stage))


def _configuration(overrides: Sequence[str]) -> Iterator[Row]:
    yield "ok", "conf", str(conf_dir())
    try:
        flow = pokeflow.load(overrides)
        remote = pokeflow.open_store(flow).remote
    except PokeflowError as error:
        for line in str(error).splitlines():
            yield "missing", "configuration", line
        return
    yield "ok", "configuration", f"{len(flow.steps)} tasks, valid"
    if remote is not None:
        yield _remote(remote)
    folder = next(p for p in (flow.root, *flow.root.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    yield "ok" if free > MIN_FREE_BYTES else "missing", "disk", f"{free / 1e9:.0f} GB free at {Path(folder).absolute()}"
    writable = os.access(folder, os.W_OK)
    yield "ok" if writable else "missing", "store", f"{flow.root} ({'writable' if writable else 'not writable'})"


def _remote(remote: ObjectStore) -> Row:
    """Return a row that says whether the bucket is writable and its server honours conditional writes."""
    key = f"leases/doctor-{uuid.uuid4().hex}"
    try:
        remote.write(key, b"first", match=ABSENT)
        try:
            remote.write(key, b"second", match=ABSENT)
        except PreconditionError:
            return "ok", "remote", f"{remote.uri} (writable, conditional writes work)"
        finally:
            remote.delete(key)
    except PokeflowError as error:
        return "missing", "remote", str(error)
    return "missing", "remote", f"{remote.uri}: this server ignores conditional writes; use it from one process only"
