"""Signing of a bundle: its ``release.json`` with a sequence, and a signature of that file's exact bytes."""

import json
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import Input, PokeflowError, __version__
from pokeflow.digest import sha256
from pokeflow_edge.pack.archive import FILE
from pokeflow_edge.release import keys
from pokeflow_edge.runtime.bundle import ABOUT as BUNDLE
from pokeflow_edge.runtime.update import releases
from pokeflow_edge.runtime.update.releases import ABOUT, KEYS, SIGNATURE, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign(package: Input, to: str, key: str | None = None) -> dict[str, Any]:
    """Sign a bundle and write archive, ``release.json``, signature and public key.

    Args:
        package: The finished task ``package`` that created the bundle, and its folder.
        to: The folder to write. If it has a release of the same bundle already, that one is kept, since devices would
            install a new release of it a second time.
        key: The file of the private key; by default the user's own, see ``release.keys``.

    Returns:
        Facts on the release, for people.

    Raises:
        PokeflowError: If a simulator of the compiler created the bundle, or the task has no bundle.

    """
    try:
        about = json.loads((package.folder / BUNDLE).read_bytes())
    except OSError as error:
        raise PokeflowError(f"{package.record.task}: left no edge bundle: {error}") from error
    if about.get("simulated") or package.record.simulated:
        raise PokeflowError(
            f"{package.record.task}: was made with a double of the compiler and answers nothing real, so it is not "
            "released. Compile the model with the vendor's own."
        )
    folder = Path(to).expanduser()
    private, file, new = keys.load_key(key)
    release = _release(package.folder / FILE, about)
    before = _before(folder, private)
    if before is not None and _is_same(before, release) and _is_whole(folder, before):
        return _facts(folder, before, private, file, new, "there already")
    if before is not None and before.sequence >= release.sequence:
        release = replace(release, sequence=before.sequence + 1)  # the clock was set back
    _write(folder, package.folder / FILE, release, private)
    return _facts(folder, release, private, file, new, "signed")


def _release(archive: Path, about: dict[str, Any]) -> Release:
    name = "-".join((about["model"]["name"], about["version"], about["target"]))
    return Release(
        archive=f"{name}.tar.gz",
        size=archive.stat().st_size,
        sha256=sha256(archive),
        model=about["model"]["name"],
        version=about["version"],
        target=about["target"],
        sequence=int(time.time()),
        pokeflow=__version__,
    )


def _before(to: Path, key: "Ed25519PrivateKey") -> Release | None:
    """Return the existing release in a folder if this key signed it, else None."""
    try:
        about, signature = (to / ABOUT).read_bytes(), (to / SIGNATURE).read_bytes()
        releases.verify(about, signature, [keys.public(key)], ABOUT)
        return releases.parse_release(about)
    except (OSError, PokeflowError):
        return None


def _is_same(before: Release, release: Release) -> bool:
    return replace(release, sequence=before.sequence, pokeflow=before.pokeflow) == before


def _is_whole(to: Path, release: Release) -> bool:
    file = to / release.archive
    return file.is_file() and sha256(file) == release.sha256


def _write(to: Path, archive: Path, release: Release, key: "Ed25519PrivateKey") -> None:
    """Write each file atomically, the archive first: an update meanwhile finds a signature mismatch, and rejects it."""
    text = (json.dumps(asdict(release), indent=2) + "\n").encode()
    to.mkdir(parents=True, exist_ok=True)
    draft = to / f"{release.archive}.new"
    shutil.copyfile(archive, draft)
    draft.replace(to / release.archive)
    for name, content in ((ABOUT, text), (SIGNATURE, key.sign(text)), (KEYS, keys.public(key))):
        draft = to / f"{name}.new"
        with draft.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(to / name)


def _facts(to: Path, release: Release, key: "Ed25519PrivateKey", file: Path, new: bool, what: str) -> dict[str, Any]:
    return {
        "release": str(to / ABOUT),
        "archive": release.archive,
        "size_mb": release.size / 1e6,
        "sequence": release.sequence,
        "state": what,
        "signing key": f"{file}{', made just now: keep a copy of it in a safe place' if new else ''}",
        "public key": keys.public(key).decode().splitlines()[1],
    }
