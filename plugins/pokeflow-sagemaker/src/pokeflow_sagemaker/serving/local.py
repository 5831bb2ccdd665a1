"""Stage ``serve``: a bundle on this machine, by the same server that its container runs."""

import importlib
import json
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import ConfigError, Fault, PokeflowError, Result, Task
from pokeflow_sagemaker import BundleParams, check_bundle
from pokeflow_sagemaker.bundle import unpack

if TYPE_CHECKING:
    from pokeflow_sagemaker.serving.params import ServeParams

log = logging.getLogger(__name__)
FILE = "model.tar.gz"
LOOPBACK = ("127.", "::1", "localhost")


def run(task: Task) -> Result:
    """Unpack the first input's bundle, open it, and answer until SIGTERM or Ctrl-C.

    Of the archive only data is used: the code that answers is this installation's.
    """
    params: ServeParams = task.params
    folder = task.work / "bundle"
    about = unpack.unpack(task.inputs[0].folder / FILE, folder)
    unpack.with_own_code(folder, _limits(folder))
    listening = _listening(params)
    with listening:
        server = _server(folder / "code")
        try:
            served = server.opened(folder)
        except ValueError as error:
            raise PokeflowError(f"{task.inputs[0].record.task}: {error} Make the bundle again.") from error
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not host.startswith(LOOPBACK):
            log.warning("%s: whoever reaches this machine can ask; nothing is encrypted.", url)
        print(_told(task, url, about), flush=True)  # noqa: T201
        server.run(served, listening)
    return Result(facts={"url": url})


def _limits(folder: Path) -> dict[str, int]:
    """What the bundle accepts, as the parameters of one may be."""
    try:
        found = json.loads((folder / unpack.LIMITS).read_text(encoding="utf-8"))
        params = BundleParams(**{name: int(value) for name, value in found.items()})
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PokeflowError(f"{FILE}: its limits are no limits ({error}). Make the bundle again.") from error
    if faults := [f"{name}: {message}" for name, message in check_bundle(params)]:
        raise PokeflowError(f"{FILE}: its limits are no limits ({'; '.join(faults)}). Make the bundle again.")
    return {"top": params.top, "max_bytes": params.max_bytes, "max_pixels": params.max_pixels}


def _listening(params: "ServeParams") -> socket.socket:
    try:
        params.host.encode("idna")  # what cannot be a host's name
        family = socket.AF_INET6 if ":" in params.host else socket.AF_INET
        return socket.create_server((params.host, params.port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        where = f"{params.host[:80]}:{params.port}"
        message = f"cannot listen on {where} ({why}). Give another --port, or --port 0 for a free one."
        raise ConfigError([Fault("cloud.serve.params.port", message)]) from error


def _server(code: Path) -> Any:
    """The server as a container finds it: beside ``inference.py`` and its limits."""
    sys.path.insert(0, str(code))
    return importlib.import_module("serve")


def _told(task: Task, url: str, about: dict[str, Any]) -> str:
    record = task.inputs[0].record
    named = f"{task.model} {task.version} ({about['model']['digest']}), {about['cards']:,} cards"
    curl = f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg {url}/invocations"
    return f"{named}, of {record.task} {record.digest}\nserving at {url}\n\n  {curl}\n"
