"""Download of an archive, which resumes after an interruption and verifies the complete file."""

import hashlib
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update.releases import Release, ReleaseRejectedError
from pokeflow_edge.runtime.update.sources import BLOCK, Source


def fetch(source: Source, release: Release, folder: Path) -> Path:
    """Download the archive of a release to ``folder``, resuming a partial file, and return its path.

    At most the release's size is written. Files of other releases in the folder are removed.

    Raises:
        NotTaken: If size or sha256 differ from the release's.
        PokeflowError: If the archive is unavailable or its transfer breaks off.

    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{release.sha256}.part"
    for other in folder.iterdir():
        if other != file:
            other.unlink()
    if file.is_symlink() or (file.exists() and file.stat().st_size > release.size):
        file.unlink()
    resumed = file.exists() and file.stat().st_size > 0
    _append(source, release, file)
    if _is(file, release):
        return file
    if resumed:
        # A power cut can leave a file of the right length without its content.
        file.unlink()
        _append(source, release, file)
        if _is(file, release):
            return file
    file.unlink()
    raise ReleaseRejectedError(
        f"{source.told}/{release.archive}: is not the archive that was signed. Nothing was changed."
    )


def _append(source: Source, release: Release, file: Path) -> None:
    with file.open("ab") as out:
        left = release.size - out.tell()
        if not left:
            return
        with source.open(release.archive, out.tell()) as content:
            while left and (block := content.read(min(left, BLOCK))):
                out.write(block)
                left -= len(block)
            more = bool(content.read(1)) if not left else False
        out.flush()
    if left:
        raise PokeflowError(f"{source.told}/{release.archive}: ended {left:,} bytes too early. Run this again.")
    if more:
        file.unlink()
        raise ReleaseRejectedError(f"{source.told}/{release.archive}: is longer than the archive that was signed.")


def _is(file: Path, release: Release) -> bool:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == release.sha256
