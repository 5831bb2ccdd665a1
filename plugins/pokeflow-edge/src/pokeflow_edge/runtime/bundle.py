"""Reading and verification of an unpacked bundle.

bundle.json           model, target and limits; size and sha256 of every other file
model/                files that the adapter opens, and preprocessing.json
index.npz labels.csv  the gallery
selftest.npz          squares uint8 n×S×S×3, and the embeddings that the model must approximate
lib/                  code: the needed parts of pokeflow, this package, the adapter
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_vision.archive import MAX_JSON

ABOUT, MODEL, LABELS, LIB = "bundle.json", "model", "labels.csv", "lib"
FORMAT = 1
"""Version of the format of ``bundle.json``."""
REMEDY = "Install the bundle again."
_RESPONSE_FIELDS = ("model", "version", "target", "preprocessing", "simulated")
_KINDS = {
    **dict.fromkeys(("version", "target", "adapter", "preprocessing"), str),
    **dict.fromkeys(("files", "limits", "selftest"), dict),
    "requires": list,
}
_BYTECODE = "__pycache__"
"""Folder that Python creates if the code runs without ``-B``; it does not make a bundle invalid."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Number of matches in a response, and maximum bytes and pixels of a picture.

    A pixel takes up to ten bytes while a picture is decoded and rotated upright.
    """

    top: int
    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, whose files match its ``bundle.json``, the mapping ``about``."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def adapter(self) -> Path:
        """File of the module that opens the model on this target."""
        return self.folder / module_file(self.about["adapter"])

    @property
    def limits(self) -> Limits:
        """Limits that the bundle was packed with."""
        return Limits(**{field.name: self.about["limits"][field.name] for field in fields(Limits)})

    @property
    def describe(self) -> dict[str, Any]:
        """Provenance fields of each response; ``simulated`` only if the bundle has it."""
        return {name: self.about[name] for name in _RESPONSE_FIELDS if name in self.about}


def load_bundle(folder: Path) -> Bundle:
    """Return the verified bundle in a folder; raise a PokeflowError for a missing, damaged or unknown file."""
    about = _about(folder)
    try:
        fault = faulty(folder, about["files"], list_files(folder))
    except OSError as error:
        raise PokeflowError(f"{error.filename}: cannot be read ({error.strerror}). {REMEDY}") from error
    if fault:
        name, reason = fault
        raise PokeflowError(f"{folder / name}: {reason}. {REMEDY}")
    if module_file(about["adapter"]) not in about["files"]:
        raise PokeflowError(f"{folder}: has no adapter {about['adapter']}. {REMEDY}")
    return Bundle(folder, about)


def read(folder: Path) -> dict[str, Any]:
    """Parse a ``bundle.json`` of any format; raise ValueError, RecursionError or OSError if it is unreadable."""
    file = folder / ABOUT
    if file.stat().st_size > MAX_JSON:
        raise ValueError(f"more than {MAX_JSON:,} bytes")
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return about


def faulty(folder: Path, files: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first file that differs from its entry in ``files`` and the reason, or None if all match.

    Args:
        folder: The unpacked bundle.
        files: The entries of ``bundle.json``, by name with ``size`` and ``sha256``.
        names: Names of the existing files without ``bundle.json``, as ``list_files`` yields them.

    Raises:
        OSError: If a file is unreadable; the exception has its name.

    """
    existing = set(names)
    for name in sorted(existing | files.keys()):
        if name not in files:
            return name, f"is not listed in {ABOUT}"
        if name not in existing:
            return name, "is missing"
        if (folder / name).is_symlink() or not (folder / name).is_file():
            return name, "is not a regular file"
        if not _is_same(folder / name, files[name]):
            return name, f"differs from {ABOUT}: it is damaged or was changed"
    return None


def list_files(folder: Path) -> Iterator[str]:
    """Yield the relative name of every file in a folder but ``bundle.json``; links are listed, not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != _BYTECODE]
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in (*files, *links):
            relative = (Path(root) / name).relative_to(folder).as_posix()
            if relative != ABOUT:
                yield relative


def module_file(module: str) -> str:
    """Return the file name in a bundle of the module with this dotted name."""
    return f"{LIB}/{module.replace('.', '/')}.py"


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = read(folder)
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r}, but this runtime reads {FORMAT}")
        _require_form(about)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PokeflowError(
            f"{folder / ABOUT}: not a readable bundle ({type(error).__name__}: {error}). {REMEDY}"
        ) from error
    return about


def _require_form(about: Mapping[str, Any]) -> None:
    """Validate the fields that the runtime uses; raise KeyError, TypeError or ValueError for an invalid one."""
    if not isinstance(about["model"], str | dict):
        raise TypeError("model is neither a name nor an object")
    if invalid := [name for name, kind in _KINDS.items() if not isinstance(about[name], kind)]:
        raise TypeError(f"{invalid[0]} is not a {_KINDS[invalid[0]].__name__}")
    if not all(isinstance(word, str) for word in about["requires"]):
        raise TypeError("requires has an item that is not a string")
    if not all(part.isidentifier() for part in about["adapter"].split(".")):
        raise ValueError(f"adapter is {about['adapter']!r}, not the name of a module")
    for field in fields(Limits):
        if not isinstance(value := about["limits"][field.name], int) or value < 1:
            raise ValueError(f"the limit {field.name} is {value!r}, not a number above 0")
    if not isinstance(about["selftest"]["cosine"], float) or about["selftest"]["file"] not in about["files"]:
        raise ValueError("the self-test is not a listed file, or has no minimum cosine")
    for name, entry in about["files"].items():
        if not isinstance(entry["size"], int) or not isinstance(entry["sha256"], str):
            raise TypeError(f"the entry of {name} has no valid size and sha256")


def _is_same(file: Path, entry: Mapping[str, Any]) -> bool:
    try:
        with file.open("rb") as content:
            if os.fstat(content.fileno()).st_size != entry["size"]:
                return False
            return bool(hashlib.file_digest(content, "sha256").hexdigest() == entry["sha256"])
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
