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
        bundle = json.loads((package.folder / BUNDLE).read_bytes())
    except OSError as error:
        raise PokeflowError(f"{package.record.task}: has no edge bundle: {error}") from error
    if bundle.get("simulated") or package.record.simulated:
        raise PokeflowError(
            f"{package.record.task}: was produced by a simulator of the compiler, so it cannot be "
            "released. Compile the model with the vendor's compiler."
        )
    folder = Path(to).expanduser()
    private, file, new = keys.load_key(key)
    release = _release(package.folder / FILE, bundle)
    existing = _read_existing(folder, private)
    if existing is not None and _is_same(existing, release) and _is_complete(folder, existing):
        return _facts(folder, existing, private, file, new, "already signed")
    if existing is not None and existing.sequence >= release.sequence:
        release = replace(release, sequence=existing.sequence + 1)  # the clock was set back
    _write(folder, package.folder / FILE, release, private)
    return _facts(folder, release, private, file, new, "signed")


def _release(archive: Path, bundle: dict[str, Any]) -> Release:
    name = "-".join((bundle["model"]["name"], bundle["version"], bundle["target"]))
    return Release(
        archive=f"{name}.tar.gz",
        size=archive.stat().st_size,
        sha256=sha256(archive),
        model=bundle["model"]["name"],
        version=bundle["version"],
        target=bundle["target"],
        sequence=int(time.time()),
        pokeflow=__version__,
    )


def _read_existing(to: Path, key: "Ed25519PrivateKey") -> Release | None:
    """Return the existing release in a folder if this key signed it, else None."""
    try:
        about, signature = (to / ABOUT).read_bytes(), (to / SIGNATURE).read_bytes()
        releases.verify(about, signature, [keys.public(key)], ABOUT)
        return releases.parse_release(about)
    except (OSError, PokeflowError):
        return None


def _is_same(existing: Release, release: Release) -> bool:
    return replace(release, sequence=existing.sequence, pokeflow=existing.pokeflow) == existing


def _is_complete(to: Path, release: Release) -> bool:
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


def _facts(
    to: Path, release: Release, key: "Ed25519PrivateKey", file: Path, is_new: bool, state: str
) -> dict[str, Any]:
    return {
        "release": str(to / ABOUT),
        "archive": release.archive,
        "size_mb": release.size / 1e6,
        "sequence": release.sequence,
        "state": state,
        "signing key": f"{file}{', created now: keep a copy of it in a safe place' if is_new else ''}",
        "public key": keys.public(key).decode().splitlines()[1],
    }
