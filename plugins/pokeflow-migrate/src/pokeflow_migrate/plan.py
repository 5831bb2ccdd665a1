"""Plan of a migration: dataclasses of its YAML, and a loader that reports all faults at once."""

import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from pokeflow import schema
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.objects import require_key

LARGEST = 1 << 20
"""Maximum size of a plan in bytes, which is written by hand."""
RESERVED = "metadata/"
"""Folder of the tree that is written from receipts alone."""


@dataclass(frozen=True, slots=True)
class Source:
    """A location of assets to migrate.

    ``at`` is ``s3://bucket/prefix``, ``file:///folder``, or a folder relative to the plan file. ``endpoint`` and
    ``region`` are for S3; by default they are those of the tree, so that the server itself copies.
    """

    at: str
    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A rule for files to copy; ``match`` is a path or a pattern below the source.

    ``to`` is the path of a single file in the tree, or a folder that ends in ``/``: files then keep their paths below
    it, from the first folder of the pattern that has a wildcard. No match is a fault, unless ``optional``.
    """

    source: str
    match: str
    to: str
    exclude: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """A JSON file in a source whose numbers are a version's figures."""

    source: str
    file: str


@dataclass(frozen=True, slots=True)
class Model:
    """A migrated version, declared so that manifest and lineage include it.

    ``parents`` are ``<model>:<version>``, the lineage parent first. ``at`` is the version's folder in the tree, if it
    is not that of the layout. ``metrics`` are known figures; further ones are read from ``metrics_from``.
    """

    version: str
    type: str
    parents: tuple[str, ...] = ()
    at: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_from: Figures | None = None


@dataclass(frozen=True, slots=True)
class LinkRule:
    """Data that are linked instead of copied: everything below ``prefix`` of a source."""

    source: str
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Runs:
    """MLflow experiments to migrate to the configuration's tracking store; ``from`` in YAML is ``at`` here.

    ``at`` is a folder (``mlruns``) relative to the plan file, ``sqlite:///…``, ``http(s)://…`` or ``s3://…``.
    ``experiments`` maps ids or names to new names; null leaves an experiment out. ``artifacts`` maps old prefixes of
    artifact addresses to new ones; only paths below the source or named here are read on this machine.
    """

    at: str
    experiments: dict[str, str | None] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rules for the replacement of old paths, which point into a source, by new ones in copied files.

    ``match`` holds patterns of tree paths of the files to rewrite. ``also`` maps further old prefixes to paths in a
    source, or to any other prefix. The ``style`` ``relative`` writes paths relative to the tree's root instead of
    URIs. Files larger than ``limit_mb`` megabytes are copied unchanged and reported.
    """

    match: tuple[str, ...] = ()
    also: dict[str, str] = field(default_factory=dict)
    limit_mb: int = 8
    style: Literal["uri", "relative"] = "uri"


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a migration; ``name`` is the name of its receipt, its journal and its report."""

    name: str
    sources: dict[str, Source] = field(default_factory=dict)
    copy: tuple[Copy, ...] = ()
    models: dict[str, Model] = field(default_factory=dict)
    links: dict[str, LinkRule] = field(default_factory=dict)
    mlflow: tuple[Runs, ...] = ()
    rewrite: Rewrite = Rewrite()


DEPTH = 20
"""Maximum nesting depth of brackets; a plan needs three. The time of the YAML parser grows with the square of it."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """YAML loader for plain data; a duplicate key is an error instead of silently replacing the first value."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in keys:
                problem = (
                    f"{key.value!r} is a duplicate key" if isinstance(key, yaml.ScalarNode) else "a key must be text"
                )
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def load(file: Path) -> Plan:
    """Load and validate the plan in a file; raise a ConfigError with all faults."""
    faults: list[Fault] = []
    data = _read(file)
    if isinstance(data, dict) and isinstance(data.get("sources"), dict):
        source_items = data["sources"].items()
        data["sources"] = {name: {"at": at} if isinstance(at, str) else at for name, at in source_items}
    if isinstance(data, dict) and isinstance(data.get("mlflow"), list):
        data["mlflow"] = [_with_at(runs) for runs in data["mlflow"]]
    plan = schema.parse(Plan, data, "", faults)
    # The further checks need a plan that could be parsed without faults.
    if plan is not None and not faults:
        faults += _faults(plan)
    if faults or plan is None:
        faults = [Fault(re.sub(r"^(mlflow\[\d+\])\.at$", r"\1.from", f.path), f.message) for f in faults]
        raise ConfigError(Fault(f"{file.name}: {f.path}" if f.path else file.name, f.message) for f in faults)
    return plan


def _with_at(runs: Any) -> Any:
    """Rename the key ``from``, which is a reserved word in Python, to ``at``."""
    return {"at" if key == "from" else key: value for key, value in runs.items()} if isinstance(runs, dict) else runs


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError([Fault(str(file), f"cannot be read: {error.strerror or error}.")]) from error
    if len(data) > LARGEST:
        raise ConfigError(
            [
                Fault(
                    str(file),
                    (
                        f"larger than {LARGEST:,} bytes, which is too large for a plan. Use patterns instead of single "
                        "files."
                    ),
                )
            ]
        )
    depth = 0
    for sign in data:
        depth = depth + 1 if sign in b"[{" else max(0, depth - 1) if sign in b"]}" else depth
        if depth > DEPTH:
            raise ConfigError(
                [Fault(str(file), f"nested more than {DEPTH} levels deep, which is too deep for a plan. Flatten it.")]
            )
    try:
        # Aliases could expand a small file to a huge plan.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
            raise ConfigError(
                [Fault(str(file), "YAML aliases (*name) are not allowed in a plan. Write the value out.")]
            )
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        location = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ConfigError([Fault(location, f"invalid YAML: {getattr(error, 'problem', None) or error}.")]) from error


def _faults(plan: Plan) -> Iterator[Fault]:
    if not _is_key(plan.name) or "/" in plan.name:
        yield Fault(
            "name",
            f"{plan.name!r} is not a valid name. Use one part of a path, without '/', because it names a receipt.",
        )
    if not (plan.copy or plan.links or plan.mlflow):
        yield Fault("", "nothing to do. Add copy, links or mlflow.")
    yield from _sources(plan)
    for i, rule in enumerate(plan.copy):
        yield from _target(f"copy[{i}].to", rule.to)
        for location, pattern in ((f"copy[{i}].match", rule.match), *((f"copy[{i}].exclude", p) for p in rule.exclude)):
            if not _is_key(pattern.removesuffix("/")) or pattern.endswith("/"):
                yield Fault(
                    location,
                    f"{pattern!r} is not a path or pattern of files below a source. For a folder, end it with '/**'.",
                )
    for folder in plan.links:
        yield from _target(f"links.{folder}", folder)
    yield from _models(plan)
    if plan.rewrite.limit_mb < 1:
        yield Fault("rewrite.limit_mb", f"{plan.rewrite.limit_mb} is less than 1. Set a larger limit.")
    yield from (
        Fault("rewrite.also", "a prefix is empty. Remove it.") for old in plan.rewrite.also if not old.strip("/")
    )


def _sources(plan: Plan) -> Iterator[Fault]:
    uses: Iterable[tuple[str, str, str]] = [
        *((f"copy[{i}]", rule.source, "") for i, rule in enumerate(plan.copy)),
        *((f"links.{name}", link.source, link.prefix) for name, link in plan.links.items()),
        *((f"models.{n}.metrics_from", m.metrics_from.source, "") for n, m in plan.models.items() if m.metrics_from),
    ]
    for location, name, prefix in uses:
        if name not in plan.sources:
            yield unknown(f"{location}.source", "source", name, plan.sources)
        if prefix and not _is_key(prefix.removesuffix("/")):
            yield Fault(
                f"{location}.prefix", f"{prefix!r} is not a folder below a source. Use a relative path without '..'."
            )


def _models(plan: Plan) -> Iterator[Fault]:
    for name, model in plan.models.items():
        location = f"models.{name}"
        for field_, part in ((location, name), (f"{location}.version", model.version)):
            if not _is_key(part) or "/" in part or ":" in part:
                yield Fault(field_, f"{part!r} must be one part of a path, without '/' and ':'.")
        if model.at is not None:
            yield from _target(f"{location}.at", model.at)
        for i, parent in enumerate(model.parents):
            parent_name, _, version = parent.rpartition(":")
            if not parent_name or not version:
                yield Fault(f"{location}.parents[{i}]", f"{parent!r} is not <model>:<version>, such as teacher:v1.0.")
            elif parent == f"{name}:{model.version}":
                yield Fault(f"{location}.parents[{i}]", "a version cannot be its own parent. Remove it.")
        if model.metrics_from and not _is_key(model.metrics_from.file):
            message = f"{model.metrics_from.file!r} is not a file below a source. Use a relative path without '..'."
            yield Fault(f"{location}.metrics_from.file", message)


def _target(location: str, path: str) -> Iterator[Fault]:
    if not _is_key(path.removesuffix("/")):
        yield Fault(
            location,
            f"{path!r} is not a path below the project. Use a relative path without '..', '\\' or empty parts.",
        )
    elif f"{path}/".casefold().startswith(RESERVED):
        yield Fault(location, f"{RESERVED} is generated from receipts. Choose another path.")


def _is_key(path: str) -> bool:
    try:
        require_key(path)
    except PokeflowError:
        return False
    return True
