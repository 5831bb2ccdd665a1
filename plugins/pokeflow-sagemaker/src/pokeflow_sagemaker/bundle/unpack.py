"""Safe unpacking of untrusted bundles: only plain files below one folder, of bounded size, with checked checksums."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker.bundle import code_files
from pokeflow_vision import archive

MAX_BYTES = 20_000_000_000
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of this machine's disk, not of the archive."""
ABOUT, LIMITS = "bundle.json", "code/limits.json"
REMEDY = "Run the stage 'bundle' again with force=[MODEL]."


def unpack(file: Path, folder: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Unpack an archive into a new folder and validate it.

    Args:
        file: The archive.
        folder: The folder to create.
        max_bytes: Largest total size of the unpacked files, in bytes.

    Returns:
        The content of ``bundle.json``.

    Raises:
        PokeflowError: If the archive is not a valid bundle, or the disk cannot hold it.

    """
    folder.mkdir(parents=True)
    try:
        return _validate(folder, archive.extract(file, folder, max_bytes))
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise PokeflowError(
                f"{folder}: cannot unpack a bundle to this folder ({error.strerror}). Correct that, or set "
                "TMPDIR to another folder, and run the same command again."
            ) from error
        raise PokeflowError(f"{file}: not a readable bundle ({error}). {REMEDY}") from error
    except archive.UNSOUND as error:
        raise PokeflowError(f"{file}: not a readable bundle ({error}). {REMEDY}") from error


def _validate(folder: Path, names: set[str]) -> dict[str, Any]:
    """Compare the unpacked files with ``bundle.json`` and return it; raise a ValueError if they differ."""
    metadata: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    entries: dict[str, Any] = metadata["files"]
    if not isinstance(entries, dict) or names - {ABOUT} != set(entries):
        raise ValueError(f"its files differ from those listed in {ABOUT}")
    for name, entry in entries.items():
        with (folder / name).open("rb") as content:
            total = hashlib.file_digest(content, "sha256").hexdigest()
        if total != entry["sha256"]:
            raise ValueError(f"the checksum of {name} differs from that in {ABOUT}")
    archive.require_kinds(ABOUT, (str, metadata["model"]["digest"]), (int, metadata["cards"]))
    if LIMITS not in names:
        raise ValueError(f"it lacks {LIMITS}")
    return metadata


def with_own_code(folder: Path, limits: dict[str, int]) -> None:
    """Replace the archive's code by that of this installation, so that unpacked code is never run."""
    shutil.rmtree(folder / "code", ignore_errors=True)
    for name, content in code_files().items():
        if name.startswith("code/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (folder / LIMITS).write_text(json.dumps(limits), encoding="utf-8")
