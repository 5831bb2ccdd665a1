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

MOST_BYTES = 20_000_000_000
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of this machine's disk, not of the archive."""
ABOUT, LIMITS = "bundle.json", "code/limits.json"


def unpack(file: Path, folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Unpack an archive into a new folder and validate it.

    Args:
        file: the archive.
        folder: the folder to create.
        most: largest total size of the unpacked files, in bytes.

    Returns:
        The content of ``bundle.json``.

    Raises:
        PokeflowError: if the archive is not a valid bundle, or the disk cannot hold it.

    """
    folder.mkdir(parents=True)
    try:
        return _compared(folder, archive.extract(file, folder, most))
    except OSError as error:
        if error.errno in _MACHINE:
            raise PokeflowError(
                f"{folder}: no bundle can be unpacked there ({error.strerror}). Mend that, and run this "
                "again; TMPDIR names another place."
            ) from error
        raise PokeflowError(f"{file}: not a readable bundle ({error}). Make it again.") from error
    except archive.UNSOUND as error:
        raise PokeflowError(f"{file}: not a readable bundle ({error}). Make it again.") from error


def _compared(folder: Path, found: set[str]) -> dict[str, Any]:
    """Compare the unpacked files with ``bundle.json`` and return it; raise a ValueError if they differ."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    stated: dict[str, Any] = about["files"]
    if not isinstance(stated, dict) or found - {ABOUT} != set(stated):
        raise ValueError(f"it holds other files than its {ABOUT} says")
    for name, said in stated.items():
        with (folder / name).open("rb") as content:
            total = hashlib.file_digest(content, "sha256").hexdigest()
        if total != said["sha256"]:
            raise ValueError(f"{name} is not what its {ABOUT} says")
    archive.require_kinds(ABOUT, (str, about["model"]["digest"]), (int, about["cards"]))
    if LIMITS not in found:
        raise ValueError(f"it holds no {LIMITS}")
    return about


def with_own_code(folder: Path, limits: dict[str, int]) -> None:
    """Replace the archive's code by that of this installation, so that unpacked code is never run."""
    shutil.rmtree(folder / "code", ignore_errors=True)
    for name, own in code_files().items():
        if name.startswith("code/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(own if isinstance(own, bytes) else own.read_bytes())
    (folder / LIMITS).write_text(json.dumps(limits), encoding="utf-8")
