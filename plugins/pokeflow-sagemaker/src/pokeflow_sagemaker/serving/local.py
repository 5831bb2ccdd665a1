"""Local serving of a bundle, by the same HTTP server that is packed into bundles."""

import importlib
import json
import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from pokeflow import ConfigError, Fault, PokeflowError, Record
from pokeflow_sagemaker.bundle import unpack
from pokeflow_sagemaker.bundle.params import BundleParams, check
from pokeflow_sagemaker.serving.bundles import ARCHIVE
from pokeflow_sagemaker.serving.params import ServeParams

log = logging.getLogger(__name__)
LOOPBACK = ("127.", "::1", "localhost")


def serve(params: ServeParams, record: Record, files: Path) -> None:
    """Unpack a bundle, open it, and serve it until SIGTERM or Ctrl-C.

    Only data of the archive is used; the code is that of this installation.

    Args:
        params: host and port to listen on.
        record: record of the bundle.
        files: folder with the bundle's files.

    """
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        _serve(params, record, files / ARCHIVE, Path(temporary) / "bundle")


def _serve(params: ServeParams, record: Record, archive: Path, folder: Path) -> None:
    about = unpack.unpack(archive, folder)
    unpack.with_own_code(folder, _limits(folder))
    listening = _listening(params)
    with listening:
        server = _server(folder / "code")
        try:
            served = server.open_model(folder)
        except ValueError as error:
            raise PokeflowError(f"{record.task}: {error} Make the bundle again.") from error
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not host.startswith(LOOPBACK):
            log.warning("%s: whoever reaches this machine can ask; nothing is encrypted.", url)
        print(_told(record, url, about), flush=True)  # noqa: T201
        server.run(served, listening)


def _limits(folder: Path) -> dict[str, int]:
    """Return the bundle's limits for requests; raise a PokeflowError if they are outside the allowed ranges."""
    try:
        found = json.loads((folder / unpack.LIMITS).read_text(encoding="utf-8"))
        params = BundleParams(**{name: int(value) for name, value in found.items()})
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PokeflowError(f"{ARCHIVE}: its limits are no limits ({error}). Make the bundle again.") from error
    if faults := [f"{name}: {message}" for name, message in check(params)]:
        raise PokeflowError(f"{ARCHIVE}: its limits are no limits ({'; '.join(faults)}). Make the bundle again.")
    return {"top": params.top, "max_bytes": params.max_bytes, "max_pixels": params.max_pixels}


def _listening(params: ServeParams) -> socket.socket:
    try:
        params.host.encode("idna")  # raises UnicodeError for text that cannot be a host name
        family = socket.AF_INET6 if ":" in params.host else socket.AF_INET
        return socket.create_server((params.host, params.port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        where = f"{params.host[:80]}:{params.port}"
        message = f"cannot listen on {where} ({why}). Give another --port, or --port 0 for a free one."
        raise ConfigError([Fault("cloud.serve.params.port", message)]) from error


def _server(code: Path) -> Any:
    """Import the module ``serve`` from the code folder, as in a container, next to ``inference.py`` and its limits."""
    sys.path.insert(0, str(code))
    return importlib.import_module("serve")


def _told(record: Record, url: str, about: dict[str, Any]) -> str:
    named = f"{record.model} {record.version} ({about['model']['digest']}), {about['cards']:,} cards"
    curl = f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg {url}/invocations"
    return f"{named}, of {record.task} {record.digest}\nserving at {url}\n\n  {curl}\n"
