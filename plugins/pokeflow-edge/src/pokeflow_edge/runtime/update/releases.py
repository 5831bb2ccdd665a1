"""Signed releases: a release is parsed only after its signature is verified."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update.sources import Source

ABOUT, SIGNATURE, KEYS = "release.json", "release.json.sig", "release.pub"
MAX_ABOUT, SIGNATURE_BYTES, MAX_KEYS = 65_536, 64, 65_536
MAX_ARCHIVE = 4_000_000_000
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----")
_ARCHIVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}\.tar\.gz")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ReleaseRejectedError(PokeflowError):
    """A release was rejected; the device keeps serving the current one."""


@dataclass(frozen=True, slots=True)
class Release:
    """The content of ``release.json``: the archive, its model, version and target, and the release's sequence.

    ``sequence`` is the time of signing in seconds since 1970, and greater than that of every earlier release.
    """

    archive: str
    size: int
    sha256: str
    model: str
    version: str
    target: str
    sequence: int
    pokeflow: str

    @property
    def label(self) -> str:
        """Name of the release for messages."""
        return f"{self.model} {self.version} for {self.target}, release {self.sequence}"


def read(source: Source, keys: Path) -> Release:
    """Return the release of a source; raise ReleaseRejectedError unless a trusted key signed its exact bytes."""
    content = source.small(ABOUT, MAX_ABOUT)
    signature = source.small(SIGNATURE, SIGNATURE_BYTES)
    verify(content, signature, read_public_keys(keys), f"{source.label}/{ABOUT}")
    return parse_release(content)


def read_public_keys(file: Path) -> tuple[bytes, ...]:
    """Return the PEM blocks of a file of public keys; raise a PokeflowError if it has none."""
    try:
        with file.open("rb") as source:
            blocks = tuple(_BLOCK.findall(source.read(MAX_KEYS)))
    except OSError as error:
        raise PokeflowError(
            f"{file}: cannot read the public key ({error.strerror}). Install the bundle again."
        ) from error
    if not blocks:
        raise PokeflowError(f"{file}: no public key in PEM format. Copy release.pub to this path.")
    return blocks


def verify(content: bytes, signature: bytes, keys: Sequence[bytes], label: str) -> None:
    """Raise ReleaseRejectedError for bytes that no key signed, and a PokeflowError for an invalid key."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise PokeflowError(
            f"signatures cannot be verified ({error}). Run: apt install python3-cryptography."
        ) from error
    for block in keys:
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise PokeflowError(
                f"{KEYS}: contains a block that is not a public key ({error}). Copy the file again."
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise PokeflowError(f"{KEYS}: contains a key that is not an Ed25519 key. Replace it.")
        try:
            key.verify(signature, content)
        except InvalidSignature:
            continue
        return
    raise ReleaseRejectedError(f"{label}: not signed by a key that this device trusts. Nothing was changed.")


def parse_release(about: bytes) -> Release:
    """Parse ``release.json`` after its signature was verified; raise ReleaseRejectedError if it is invalid."""
    try:
        raw = json.loads(about)
        values = {field.name: raw[field.name] for field in fields(Release)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReleaseRejectedError(
            f"{ABOUT}: signed, but not a valid release ({type(error).__name__}: {error})."
        ) from error
    for field in fields(Release):
        # Exact types, int or str by the annotations of Release: isinstance would accept a bool as an int.
        if type(values[field.name]) is not field.type:
            raise ReleaseRejectedError(
                f"{ABOUT}: signed, but has an invalid {field.name}: {str(values[field.name])[:80]!r}."
            )
    release = Release(**values)
    checks = {
        "archive": _ARCHIVE.fullmatch(release.archive),
        "sha256": _SHA256.fullmatch(release.sha256),
        "size": 0 < release.size <= MAX_ARCHIVE,
        "sequence": 0 < release.sequence < 1 << 53,
    }
    if invalid := [name for name, valid in checks.items() if not valid]:
        raise ReleaseRejectedError(
            f"{ABOUT}: signed, but has an invalid {invalid[0]}: {str(values[invalid[0]])[:80]!r}."
        )
    return release
