"""Extraction of an archive, untrusted even if signed: plain files in one folder, bounded size, verified checksums."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pokeflow_edge.runtime import bundle
from pokeflow_edge.runtime.bundle import ABOUT
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError
from pokeflow_vision import archive

MAX_BYTES = 8_000_000_000


def unpack(file: Path, folder: Path, most: int = MAX_BYTES) -> dict[str, Any]:
    """Unpack an archive into a new folder and return its ``bundle.json``.

    Raises:
        ReleaseRejectedError: If the archive is not a valid bundle.
        OSError: If the disk fails.

    """
    folder.mkdir(parents=True)
    try:
        return about(folder, archive.extract(file, folder, most, executable=True) - {ABOUT})
    except gzip.BadGzipFile as error:
        raise ReleaseRejectedError(f"{file.name}: not a readable bundle ({error}).") from error
    except archive.UNSOUND as error:
        raise ReleaseRejectedError(f"{file.name}: not a valid bundle ({error}).") from error


def damage(folder: Path) -> str:
    """Return how an unpacked bundle is damaged, or '' if it is intact; compiled Python files are ignored."""
    try:
        about(folder, bundle.list_files(folder))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return str(error)
    return ""


def about(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the ``bundle.json`` of a folder after checking ``names``, all other files in it, against it.

    Only the fields that an update uses are validated, not the format: the runtime in the bundle validates a newer
    format in its self-test, by ``bundle.load_bundle``.

    Raises:
        ValueError: If a file is missing, damaged or unknown.
        KeyError, TypeError: If a field is missing or of another type.

    """
    if not (folder / ABOUT).is_file():
        raise ValueError(f"it has no {ABOUT}")
    bundle_json = bundle.read(folder)
    if not isinstance(bundle_json["files"], dict):
        raise TypeError(f"its {ABOUT} lists no files")
    if fault := bundle.faulty(folder, bundle_json["files"], names):
        raise ValueError(": ".join(fault))
    model = bundle_json["model"]
    kinds = (dict, model), (str, model["name"]), (str, bundle_json["version"]), (str, bundle_json["target"])
    archive.require_kinds(ABOUT, *kinds)
    return bundle_json
