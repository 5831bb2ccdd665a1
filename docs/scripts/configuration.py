"""Write the configuration's reference from the dataclasses that parse it and from the shipped options."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markup import describe, prose, table
from meanings import MEANING

from pokeflow import plugins
from pokeflow.config import GROUPS, options, settings
from pokeflow.gates import Gate
from pokeflow.schema import hints
from pokeflow.types import Budget, NoParams, load_params

ROOT = Path(__file__).parents[2]
PURPOSE = {
    "project": "Name, description, budget of the project",
    "lineage": "Models, how each is produced, from which parents, and what it must reach",
    "model": "Networks and their input size, to which the lineage refers",
    "data": "Source of the data set, its queries and the preprocessing",
    "target": "Hardware: the backends that compile for it and measure on it",
    "store": "Folder and bucket of records and files",
    "layout": "Paths of published files",
    "executor": "Machine that runs the tasks",
    "tracking": "Service that receives each finished task",
    "registry": "Registry that receives finished models",
    "cloud": "Parameters of the commands and stages that work in a cloud",
    "experiment": "A named set of changes; several as `experiment=[cpu,targets]`",
    "sweep": "A named sweep",
}
SHARED = (
    settings.Model,
    settings.StageSettings,
    settings.Executor,
    Gate,
    Budget,
    settings.Source,
    settings.CloudSettings,
)
"""Types with their own tables, to which others link."""
_COMMENT = re.compile(r"^\s*(\w+):(?: [^#\n]*?)?\s+# (.+)$", re.MULTILINE)
_TEXT = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value", object: "any value"}


def groups() -> str:
    """Return the groups with their purpose, the default option and all options that are installed."""
    chosen = dict(
        re.findall(r"- (?:optional )?(\w+): ([\w-]+)", (ROOT / "conf/config.yaml").read_text(encoding="utf-8"))
    )
    rows = []
    for group in (g for g in GROUPS if g != "hydra"):
        default = chosen.get(group, "null")
        names = ", ".join(f"`{option}`" for option in options(group))
        rows.append((f"`{group}`", PURPOSE[group], "–" if default == "null" else f"`{default}`", names))
    return table(("group", "purpose", "default", "options"), rows)


def settings_tables() -> str:
    """Return a table for the root, for each group with types in the core, and for types that several of them use."""
    known = {name: kind for name, kind in settings.GROUPS.items() if kind not in SHARED}
    parts = [
        _section(
            "The root",
            settings.Settings,
            only=("models", "stages", "force", "publish"),
            about="Keys outside the groups, on the command line or in `conf/config.yaml`.",
        )
    ]
    parts += [_section(f"`{name}`", kind, prefix=name) for name, kind in known.items()]
    parts += [_section(_title(kind), kind, anchor=_anchor(kind)) for kind in SHARED]
    return "\n\n".join(parts)


def backends() -> str:
    """Return the parameters of every installed backend, with a section for each stage."""
    registry, parts, shown = plugins.registry(plugins.manager()), [], {}
    for stage in registry.stages:
        parts.append(f"### Stage `{stage}` {{ #stage-{stage} }}")
        for name in registry.backends_of(stage):
            backend = registry.backends[stage, name]
            kind = load_params(backend)
            title = f"#### `{stage}`: `{name}` {{ #{stage}-{name} }}"
            if kind in shown:
                same = "[`{0}: {1}`](#{0}-{1})".format(*shown[kind])
                text = f"From `{_distribution(backend.package)}`. The parameters are those of {same}."
                parts.append(f"{title}\n\n{text}")
                continue
            shown[kind] = stage, name
            about, body = _body(kind, comments=_comments(stage, name))
            parts.append(f"{title}\n\nFrom `{_distribution(backend.package)}`. {about}\n\n{body}")
    return "\n\n".join(parts)


def executors() -> str:
    """Return the parameters of every installed executor."""
    registry, parts = plugins.registry(plugins.manager()), []
    for name, executor in registry.executors.items():
        about, body = _body(load_params(executor))
        where = "Runs jobs that share only the bucket with this machine." if executor.remote else ""
        parts.append("\n\n".join(filter(None, [f"### Executor `{name}` {{ #executor-{name} }}", where, about, body])))
    return "\n\n".join(parts)


def cloud_commands() -> str:
    """Return the parameters of commands that YAML sets as ``cloud.<command>.params``."""
    parts = []
    for name, command in plugins.registry(plugins.manager()).commands.items():
        kind = load_params(command)
        if kind is not NoParams:
            about, body = _body(kind)
            text = f"Command: [`pokeflow {name}`](cli.md#pokeflow-{name}). {about}"
            parts.append(f"### `cloud.{name}.params` {{ #cloud-{name} }}\n\n{text}\n\n{body}")
    return "\n\n".join(parts)


def _section(
    title: str, kind: type, *, prefix: str = "", anchor: str = "", only: tuple[str, ...] = (), about: str = ""
) -> str:
    description, body = _body(kind, prefix, only, comments=_comments_of([ROOT / "conf/config.yaml"]))
    mark = f" {{ #{anchor} }}" if anchor else f" {{ #group-{prefix} }}" if prefix else ""
    return f"### {title}{mark}\n\n{about or description}\n\n{body}"


def _body(
    kind: type, prefix: str = "", only: tuple[str, ...] = (), comments: Mapping[str, str] | None = None
) -> tuple[str, str]:
    rows = [row for row in _rows(kind, prefix, comments or {}) if not only or row[0].strip("`") in only]
    about = describe(kind)[0] if kind is not NoParams else ""
    return about, table(("key", "type", "default", "meaning"), rows) if rows else "It takes no parameters."


def _comments(stage: str, backend: str) -> dict[str, str]:
    """Return the comments after keys in the shipped YAML that names this backend."""
    group = {"prepare": "data", "track": "tracking", "register": "registry"}.get(stage, "target")
    files = [*ROOT.glob(f"conf/{group}/*.yaml"), *ROOT.glob(f"plugins/*/src/*/conf/{group}/*.yaml")]
    return _comments_of([file for file in sorted(files) if f"backend: {backend}" in file.read_text(encoding="utf-8")])


def _comments_of(files: list[Path]) -> dict[str, str]:
    comments: dict[str, str] = {}
    for file in files:
        for key, text in _COMMENT.findall(file.read_text(encoding="utf-8")):
            comments.setdefault(key, f"{text[:1].upper()}{text[1:]}".rstrip(".") + ".")
    return comments


def _rows(kind: type, prefix: str, comments: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each key of a dataclass, and the rows of nested ones that have no table of their own."""
    descriptions = describe(kind)[1]
    for field in dataclasses.fields(kind):
        key = f"{prefix}.{field.name}" if prefix else field.name
        hint = hints(kind)[field.name]
        inner, mark = _nested(hint)
        by_hand = MEANING.get(key, "") or MEANING.get(f"{kind.__name__}.{field.name}", "")
        meaning = by_hand or descriptions.get(field.name, "") or prose(comments.get(field.name, ""))
        meaning = re.sub(r"\bNone\b", "null", meaning)
        if field.metadata.get("digest") is False:
            meaning = f"{meaning} Not in the digest.".strip()
        default = _default(field)
        if inner is None or inner in SHARED:
            yield f"`{key}`", type_text(hint), default, meaning
            continue
        if not meaning:
            meaning = describe(inner)[0]
        required = default == "required"
        yield (
            f"`{key}`",
            type_text(hint),
            "required" if required else "" if default.startswith("`{") else default,
            meaning,
        )
        yield from _rows(inner, f"{key}{mark}", comments)


def _nested(hint: Any) -> tuple[type | None, str]:
    """Return the dataclass inside a type, and the part of a key between the two: a name, an index or nothing."""
    if dataclasses.is_dataclass(hint):
        return typing.cast("type", hint), ""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return next(((k, m) for k, m in map(_nested, args) if k), (None, ""))
    if origin in (dict, Mapping):
        kind, mark = _nested(args[1])
        return kind, f".<name>{mark}"
    if origin is tuple:
        kind, mark = _nested(args[0])
        return kind, f"[]{mark}"
    return None, ""


def type_text(hint: Any) -> str:  # noqa: PLR0911 - a return for each kind of type
    """Return a type in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return "null"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[{_title(hint)}](#{_anchor(hint)})" if hint in SHARED else "mapping"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(arg) for arg in sorted(args, key=lambda arg: arg is type(None))))
    if origin is typing.Literal:
        return " or ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return f"list of {type_text(args[0])}"
    if origin in (dict, Mapping):
        value = type_text(args[1])
        return f"mapping of ({value})" if " or " in value else f"mapping of {value}"
    if origin is typing.Annotated:
        return type_text(args[0])
    return _TEXT.get(hint, f"`{getattr(hint, '__name__', hint)}`")


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    if dataclasses.is_dataclass(value):
        return "{…}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value) if value != "" else '""'


def _title(kind: type) -> str:
    titles = {settings.StageSettings: "Stage settings", settings.CloudSettings: "Cloud settings"}
    return titles.get(kind, kind.__name__)


def _anchor(kind: type) -> str:
    return f"type-{_title(kind).lower().replace(' ', '-')}"


def _distribution(package: str) -> str:
    return package.replace("_", "-")
