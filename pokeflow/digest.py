"""Names made from content: of a task, from all that decides it; of a folder, from what lies in it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.types import File

LENGTH = 16
"""Hex digits of a digest: 64 bits, enough that a store of millions of tasks meets no collision."""


def digest(parts: Sequence[Any]) -> str:
    """The name of a result before it exists. Key order and dataclass or mapping make no difference."""
    text = json.dumps(msgspec.to_builtins(parts), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def decisive(value: Any) -> Any:
    """Parameters as plain data without what changes no result: dataclass fields with ``metadata={"digest": False}``."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = (field.name for field in fields(value) if field.metadata.get("digest", True))
        return {name: decisive(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {str(key): decisive(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [decisive(item) for item in value]
    return value


def content(files: Iterable[File]) -> str:
    """The name of what a task left: the same files give the same name on any machine."""
    return digest([[f.path, f.sha256] for f in sorted(files, key=lambda f: f.path)])


def sha256(file: Path) -> str:
    """Checksum of a file's bytes, in hex."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
