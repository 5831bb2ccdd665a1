"""Description of machine and code for a record, without anything that names a person or a host."""

import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from pokeflow.plugins import GROUP
from pokeflow.types import Backend


def capture(backend: Backend) -> Mapping[str, Any]:
    """Return versions of Python, platform, pokeflow, backend and its requirements, and the project's git revision."""
    return {**_machine(), "packages": _packages(backend.package)}


@cache
def _machine() -> Mapping[str, Any]:
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "pokeflow": metadata.version("pokeflow"),
        # Of the current folder: it holds the project's YAML, which may be under version control.
        "project_git": _git("rev-parse", "HEAD"),
        "project_git_dirty": bool(changes) if changes is not None else None,
    }


def _git(*args: str) -> str | None:
    try:
        process = subprocess.run(["git", *args], capture_output=True, text=True, timeout=10, check=True)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


@cache
def _packages(module: str) -> Mapping[str, str]:
    entry = next((e for e in metadata.entry_points(group=GROUP) if e.module.partition(".")[0] == module), None)
    if entry is None or entry.dist is None:
        return {}
    names = [entry.dist.name, *(re.split(r"[^\w.-]", text)[0] for text in entry.dist.requires or () if ";" not in text)]
    return {name: version for name in sorted(set(names)) if (version := _version(name))}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
