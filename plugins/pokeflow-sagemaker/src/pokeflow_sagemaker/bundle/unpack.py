"""Unpacking a bundle that may come from anywhere: plain files below one folder, of bounded size, with its checksums."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker.bundle import packed_code
from pokeflow_vision import archive

MOST_BYTES = 20_000_000_000
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""What a disk says of itself, not of an archive."""
ABOUT, LIMITS = "bundle.json", "code/limits.json"


def unpack(file: Path, folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Unpack an archive into an empty folder and return its ``bundle.json``; PokeflowError where it is not sound."""
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
    """What the bundle says of itself, once every file is what it says."""
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
    """Put this installation's code in the place of the archive's: nothing that was unpacked is ever run."""
    shutil.rmtree(folder / "code", ignore_errors=True)
    for name, own in packed_code().items():
        if name.startswith("code/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(own if isinstance(own, bytes) else own.read_bytes())
    (folder / LIMITS).write_text(json.dumps(limits), encoding="utf-8")
