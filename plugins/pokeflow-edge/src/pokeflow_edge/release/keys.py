"""The private key that signs releases. It stays in its file: no task, record, log or digest contains it."""

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import PokeflowError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIABLE = "POKEFLOW_SIGNING_KEY"
DEFAULT = Path("~/.config/pokeflow/signing.pem")
_CREATE = "openssl genpkey -algorithm ed25519 -out"


def key_file(path: str | None) -> Path:
    """Return the key's path: the argument, else $POKEFLOW_SIGNING_KEY, else ``DEFAULT`` in the user's home."""
    file = Path(path or os.environ.get(VARIABLE) or DEFAULT)
    try:
        return file.expanduser()
    except RuntimeError as error:
        raise PokeflowError(f"{file}: no user of this name has a home. Give the key's full path.") from error


def load_key(path: str | None) -> tuple["Ed25519PrivateKey", Path, bool]:
    """Return the key, its file, and whether it was just created, as only the default key is at its first use."""
    file = key_file(path)
    if file.exists():
        return _read(file), file, False
    if path or os.environ.get(VARIABLE):
        raise PokeflowError(f"{file}: no such key. Create one: {_CREATE} {shlex.quote(str(file))}")
    return _create(file), file, True


def require_key(path: str | None) -> None:
    """Raise a PokeflowError if ``load_key`` would; a default key that does not exist yet is not created."""
    if path or os.environ.get(VARIABLE) or key_file(path).exists():
        load_key(path)


def public(key: "Ed25519PrivateKey") -> bytes:
    """Return the public key as PEM, for the devices that trust it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(file: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not file.is_file():
        raise PokeflowError(f"{file}: not a file. Give the path of the private key.")
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise PokeflowError(f"{file}: other users can read it. Run: chmod 600 {shlex.quote(str(file))}")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without the error's text, which could contain parts of the key.
        kind = type(error).__name__
        raise PokeflowError(f"{file}: not an unencrypted private key in PEM format ({kind}). Name another.") from None
    except OSError as error:
        raise PokeflowError(f"{file}: cannot be read ({error.strerror}). Check its permissions.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PokeflowError(f"{file}: not an Ed25519 key. Create one: {_CREATE} NEW_FILE")
    return key


def _create(file: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Only the owner can ever read it, and an existing key is never overwritten.
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 - a descriptor
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise PokeflowError(f"{file}: a key cannot be written ({error.strerror}). Give one with --key.") from error
    return key
