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
        ReleaseRejectedError: If size or sha256 differ from the release's.
        PokeflowError: If the archive is unavailable or its transfer breaks off.

    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{release.sha256}.part"
    for leftover in folder.iterdir():
        if leftover != file:
            leftover.unlink()
    if file.is_symlink() or (file.exists() and file.stat().st_size > release.size):
        file.unlink()
    resumed = file.exists() and file.stat().st_size > 0
    _append(source, release, file)
    if _matches(file, release):
        return file
    if resumed:
        # A power cut can leave a file of the right length without its content.
        file.unlink()
        _append(source, release, file)
        if _matches(file, release):
            return file
    file.unlink()
    raise ReleaseRejectedError(
        f"{source.label}/{release.archive}: not the archive that was signed. Nothing was changed."
    )


def _append(source: Source, release: Release, file: Path) -> None:
    with file.open("ab") as out:
        remaining = release.size - out.tell()
        if not remaining:
            return
        with source.open(release.archive, out.tell()) as content:
            while remaining and (block := content.read(min(remaining, BLOCK))):
                out.write(block)
                remaining -= len(block)
            longer = bool(content.read(1)) if not remaining else False
        out.flush()
    if remaining:
        raise PokeflowError(
            f"{source.label}/{release.archive}: ended {remaining:,} bytes too early. Run the update again."
        )
    if longer:
        file.unlink()
        raise ReleaseRejectedError(f"{source.label}/{release.archive}: longer than the archive that was signed.")


def _matches(file: Path, release: Release) -> bool:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == release.sha256
