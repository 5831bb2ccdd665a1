"""Unpacking a bundle that may come from anywhere: plain files below one folder, of bounded size, with its checksums."""

import errno
import gzip
import hashlib
import json
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker.bundle import archive

MOST_FILES, MOST_BYTES = 1000, 20_000_000_000
MOST_JSON = 16_000_000
"""Bytes of a JSON file, which is read as a whole."""
MOST_AT_ONCE = 4_000_000
"""Bytes that tarfile may ask for in one read: a header that says it is longer is no header of ours."""
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""What a disk says of itself, not of an archive."""
ABOUT, LIMITS = "bundle.json", "code/limits.json"


def unpack(file: Path, folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Unpack an archive into an empty folder and return its ``bundle.json``; PokeflowError where it is not sound."""
    folder.mkdir(parents=True)
    try:
        with file.open("rb") as packed, gzip.GzipFile(fileobj=packed) as plain:
            found = _members(_Bounded(plain, most), folder)
        return _compared(folder, found)
    except PokeflowError:
        raise
    except OSError as error:
        if error.errno in _MACHINE:
            raise PokeflowError(
                f"{folder}: no bundle can be unpacked there ({error.strerror}). Mend that, and run this "
                "again; TMPDIR names another place."
            ) from error
        raise PokeflowError(f"{file}: not a readable bundle ({error}). Make it again.") from error
    except (EOFError, ValueError, TypeError, KeyError, RecursionError, tarfile.TarError, zlib.error) as error:
        raise PokeflowError(f"{file}: not a readable bundle ({error}). Make it again.") from error


def _members(plain: "_Bounded", folder: Path) -> set[str]:
    found: set[str] = set()
    with tarfile.open(fileobj=plain, mode="r:") as tar:  # type: ignore[call-overload]  # it only has to be read
        for member in tar:
            if not member.isreg() or member.issparse():
                raise ValueError(f"{member.name!r} is no plain file")
            if member.name in found or len(found) >= MOST_FILES:
                raise ValueError(f"{member.name!r} is there twice, or there are more than {MOST_FILES:,} files")
            if member.name.endswith(".json") and member.size > MOST_JSON:
                raise ValueError(f"{member.name!r} has {member.size:,} bytes, the limit is {MOST_JSON:,}")
            # Written by hand: no link, no device, nothing outside, no mode or owner of the archive's.
            target = folder / archive.require_name(member.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None  # a plain file has one
            with target.open("xb") as out:
                shutil.copyfileobj(content, out)
            found.add(member.name)
    return found


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
    kinds = (str, about["model"]["digest"]), (int, about["cards"])
    if other := [repr(part)[:40] for kind, part in kinds if not isinstance(part, kind)]:
        raise ValueError(f"its {ABOUT} holds what is none of its form: {', '.join(other)}")
    if LIMITS not in found:
        raise ValueError(f"it holds no {LIMITS}")
    return about


class _Bounded:
    """A file that gives up where more than so many bytes come out of it, or too many are wanted at once."""

    def __init__(self, source: gzip.GzipFile, most: int) -> None:
        self._source, self._most = source, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_AT_ONCE:
            raise ValueError("a header that has no end")
        data = self._source.read(size)
        self._count()
        return data

    def seek(self, place: int) -> int:
        at = self._source.seek(place)
        self._count()
        return at

    def tell(self) -> int:
        return self._source.tell()

    def _count(self) -> None:
        if self.tell() > self._most:
            raise ValueError(f"it unfolds to more than {self._most / 1e6:,.0f} MB")


def with_own_code(folder: Path, code: dict[str, str], limits: dict[str, int]) -> None:
    """Put this installation's code in the place of the archive's: nothing that was unpacked is ever run."""
    shutil.rmtree(folder / "code", ignore_errors=True)
    (folder / "code").mkdir()
    for name, own in code.items():
        if name.startswith("code/"):
            shutil.copyfile(Path(__file__).parent / own, folder / name)
    (folder / LIMITS).write_text(json.dumps(limits), encoding="utf-8")
