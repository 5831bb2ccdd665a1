"""Digests: of a task, from everything that determines its result; of a result, from its files."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.types import File

LENGTH = 16
"""Number of hex digits of a digest: 64 bits, enough to avoid collisions in a store of millions of tasks."""


def digest(parts: Sequence[Any]) -> str:
    """Return the digest that names a result before it exists; key order and dataclass or mapping do not affect it."""
    text = json.dumps(msgspec.to_builtins(parts), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def digest_params(value: Any) -> Any:
    """Return parameters as plain data, without fields that change no result (``metadata={"digest": False}``)."""
    if is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in fields(value) if field.metadata.get("digest", True))
        return {name: digest_params(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): digest_params(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [digest_params(item) for item in value]
    return value


def content(files: Iterable[File]) -> str:
    """Return the digest of a task's files: the same files give the same digest on any machine."""
    return digest([[f.path, f.sha256] for f in sorted(files, key=lambda f: f.path)])


def sha256(file: Path) -> str:
    """Return the SHA-256 checksum of a file's bytes, in hex."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
