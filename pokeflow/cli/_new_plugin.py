"""Generator of new plugins: a distribution with the standard structure of a plugin, which works unchanged."""

import re
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import yaml

from pokeflow import plugins
from pokeflow.config import options
from pokeflow.errors import ConfigError, Fault

SKELETON = Path(__file__).parent / "skeleton"
SUFFIX = ".txt"
"""Suffix of the skeletons' files, which marks them as templates and not as code of pokeflow."""
KINDS: Mapping[str, tuple[str, str]] = {
    "target": ("a target", "target"),
    "backend": ("a backend", "lineage"),
    "data": ("a data set", "data"),
    "executor": ("an executor", "executor"),
}
"""Kinds of plugins: for each a phrase for messages, and the YAML group in which its name becomes an option."""
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
MAX_NAME_LENGTH = 40


def write(kind: str, name: str, to: Path) -> Path:
    """Write a plugin of a kind into a new folder below ``to``, and return that folder.

    Raises:
        ConfigError: For a name that is invalid or in use, or a folder that cannot be created; nothing is written.

    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or not isinstance(yaml.safe_load(name), str):
        message = (
            f"{name!r} is not a valid name for {KINDS[kind][0]}: use lower-case letters, digits and '_', at most "
            f"{MAX_NAME_LENGTH}; words such as 'yes' or 'null' have a meaning in YAML."
        )
        raise ConfigError([Fault("plugins new", message)])
    folder = to / f"pokeflow-{name.replace('_', '-')}"
    if _is_taken(kind, name):
        raise ConfigError([Fault("plugins new", f"{name!r} is taken by an installed plugin. Choose another name.")])
    if not to.is_dir():
        raise ConfigError([Fault("--to", f"folder {to} does not exist. Create it, or choose another.")])
    if folder.exists() or folder.is_symlink():
        raise ConfigError([Fault("plugins new", f"{folder} exists. Choose another name, or a folder with --to.")])
    title = name.title().replace("_", "")
    for source in sorted((SKELETON / kind).rglob(f"*{SUFFIX}")):
        path = str(source.relative_to(SKELETON / kind)).removesuffix(SUFFIX)
        text = source.read_text(encoding="utf-8").replace("pokeflow-acme", folder.name)
        file = folder / path.replace("acme", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("acme", name).replace("Acme", title), encoding="utf-8")
    return folder


def _is_taken(kind: str, name: str) -> bool:
    registry = plugins.registry(plugins.manager())
    return (
        name in options(KINDS[kind][1])
        or name in {entry.name for entry in metadata.entry_points(group=plugins.GROUP)}
        or name in {backend for _, backend in registry.backends} | set(registry.executors)
        or find_spec(f"pokeflow_{name}") is not None
    )
