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
        params: Host and port to listen on.
        record: Record of the bundle.
        files: Folder with the bundle's files.

    """
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as temporary:
        _serve(params, record, files / ARCHIVE, Path(temporary) / "bundle")


def _serve(params: ServeParams, record: Record, archive: Path, folder: Path) -> None:
    metadata = unpack.unpack(archive, folder)
    unpack.with_own_code(folder, _limits(folder))
    listener = _listen(params)
    with listener:
        server = _server(folder / "code")
        try:
            model = server.open_model(folder)
        except ValueError as error:
            raise PokeflowError(f"{record.task}: {error} Run it again with force=[{record.model}].") from error
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not host.startswith(LOOPBACK):
            log.warning("%s: reachable from other machines, without authentication or encryption.", url)
        print(_startup_message(record, url, metadata), flush=True)  # noqa: T201
        server.run(model, listener)


def _limits(folder: Path) -> dict[str, int]:
    """Return the bundle's limits for requests; raise a PokeflowError if they are outside the allowed ranges."""
    try:
        values = json.loads((folder / unpack.LIMITS).read_text(encoding="utf-8"))
        params = BundleParams(**{name: int(value) for name, value in values.items()})
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PokeflowError(f"{ARCHIVE}: its limits are invalid ({error}). {unpack.REMEDY}") from error
    if faults := [f"{name}: {message}" for name, message in check(params)]:
        raise PokeflowError(f"{ARCHIVE}: its limits are invalid ({'; '.join(faults)}). {unpack.REMEDY}")
    return {"top": params.top, "max_bytes": params.max_bytes, "max_pixels": params.max_pixels}


def _listen(params: ServeParams) -> socket.socket:
    try:
        params.host.encode("idna")  # raises UnicodeError for text that cannot be a host name
        family = socket.AF_INET6 if ":" in params.host else socket.AF_INET
        return socket.create_server((params.host, params.port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        address = f"{params.host[:80]}:{params.port}"
        message = f"cannot listen on {address} ({why}). Set another --port, or --port 0 for any free port."
        raise ConfigError([Fault("cloud.serve.params.port", message)]) from error


def _server(code: Path) -> Any:
    """Import the module ``serve`` from the code folder, as in a container, next to ``inference.py`` and its limits."""
    sys.path.insert(0, str(code))
    return importlib.import_module("serve")


def _startup_message(record: Record, url: str, metadata: dict[str, Any]) -> str:
    model = f"{record.model} {record.version} ({metadata['model']['digest']}), {metadata['cards']:,} cards"
    curl = f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg {url}/invocations"
    return f"{model}, of {record.task} {record.digest}\nserving at {url}\n\n  {curl}\n"
