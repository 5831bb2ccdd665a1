"""Write tables of interfaces for plugins and readers of results: hooks, entry points, stages, records, facts."""

import dataclasses
import inspect
import re
from importlib import metadata
from pathlib import Path

from configuration import type_text
from markup import describe, prose, table

from pokeflow import hookspecs
from pokeflow import stages as special
from pokeflow.schema import hints
from pokeflow.types import File, Record
from pokeflow_metadata.facts import ModelFacts

ROOT = Path(__file__).parents[2]
GROUPS = {
    "pokeflow": "Module with hooks",
    "pokeflow.doctor": "Function that yields rows of status, name and text for `pokeflow doctor`",
    "pokeflow.documents": "`DocumentKind` of the published tree",
    "pokeflow.objects": "Object store, by the scheme of its URIs",
}


def hooks() -> str:
    """Return the hooks and what each returns."""
    rows = []
    for name, hook in vars(hookspecs).items():
        if name.startswith("pokeflow_"):
            arguments = ", ".join(inspect.signature(hook).parameters)
            rows.append((f"`{name}({arguments})`", prose(inspect.getdoc(hook) or "")))
    return table(("hook", "what it does"), rows)


def entry_points() -> str:
    """Return the groups of entry points that the installed distributions of this repository use."""
    by_group: dict[str, list[str]] = {}
    for group in sorted(metadata.entry_points().groups):
        if group.split(".")[0].startswith("pokeflow"):
            by_group[group] = sorted(entry.name for entry in metadata.entry_points(group=group))
    own = _declared()
    rows = [
        (
            f"`{group}`",
            GROUPS.get(group, _purpose(group)),
            ", ".join(f"`{name}`" for name in names if (group, name) in own),
        )
        for group, names in by_group.items()
    ]
    return table(("group", "an entry is", "shipped"), [row for row in rows if row[2]])


def _declared() -> set[tuple[str, str]]:
    import tomllib

    declared = set()
    for file in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        points = tomllib.loads(file.read_text(encoding="utf-8"))["project"].get("entry-points", {})
        declared |= {(group, name) for group, names in points.items() for name in names}
    return declared


def _purpose(group: str) -> str:
    module, _, what = group.partition(".")
    return f"{what.replace('_', ' ').capitalize()} of `{module.replace('_', '-')}`"


def stages() -> str:
    """Return the stage and model names with a meaning in the core."""
    text = inspect.getsource(special)
    rows = re.findall(r'^[A-Z]+ = "(\w+)"\n"""(.*?)"""', text, re.MULTILINE | re.DOTALL)
    return table(("name", "meaning"), [(f"`{name}`", prose(meaning)) for name, meaning in rows])


def record() -> str:
    """Return the fields of ``record.json``."""
    by_hand = {
        "task": "Name of the task, `<stage>:<model>`.",
        "stage": "Stage that ran.",
        "backend": "Backend that ran it.",
        "revision": "The backend's revision, part of the digest.",
        "model": "Model, or `data` for the data set.",
        "version": "Version of the model in the configuration.",
        "type": "Type of the model in the configuration.",
        "digest": "Digest of everything that determines the result; the folder's name.",
        "params": "Parameters after composition that are in the digest.",
        "files": "Path, size in bytes and SHA-256 of each file.",
        "inputs": "Content of each input when it was read, by the input's task.",
        "metrics": "Numbers; null is an unknown metric, which has a reason.",
        "reasons": "Reason of each unknown metric.",
        "content": "Hash of the paths and checksums of the files; later tasks record it for their inputs.",
        "started": "Start in UTC, ISO 8601.",
        "finished": "End in UTC, ISO 8601.",
        "seconds": "Run time of the backend in seconds.",
        "environment": "Machine and versions: processor, system, packages, commit of the source.",
        "executor": "Executor that ran the task.",
        "cost_usd": "Cost in US dollars; null while unknown. Only this and the job's environment may be added later.",
    }
    descriptions = describe(Record)[1]
    rows = [
        (
            f"`{field.name}`",
            type_text(hints(Record)[field.name]),
            by_hand.get(field.name) or descriptions.get(field.name, ""),
        )
        for field in dataclasses.fields(Record)
    ]
    names = ", ".join(f"`{field.name}`" for field in dataclasses.fields(File))
    return table(("field", "type", "meaning"), rows) + f"\n\nAn entry of `files` has {names}."


def facts() -> str:
    """Return the typed facts of a record, with their types."""
    rows = [
        (f"`{f.name}`", type_text(hints(ModelFacts)[f.name]))
        for f in dataclasses.fields(ModelFacts)
        if f.name != "reasons"
    ]
    return table(("fact", "type"), rows)
