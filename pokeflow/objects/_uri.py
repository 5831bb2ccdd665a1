"""Functions that open an object store by its URI: a local folder, or a scheme of a plugin, such as a bucket."""

import os
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pokeflow.errors import ConfigError, Fault
from pokeflow.objects._base import ObjectStore
from pokeflow.objects._folder import Folder
from pokeflow.types import RemoteStore

GROUP = "pokeflow.objects"
"""Entry points that open a scheme of URIs: the scheme's name → a function ``(uri, **options) -> ObjectStore``."""
KNOWN = "s3://bucket, s3://bucket/prefix, file:///folder, or the path of a folder"
PROVIDERS = {"s3": "pokeflow-s3"}
"""Distribution that provides each scheme, for the message if it is not installed."""
_SCHEME = re.compile(r"(file|s3)(?=:)|([A-Za-z][A-Za-z0-9+.-]*)(?=:/)")


def open_uri(uri: str, **options: Any) -> ObjectStore:
    """Open the object store at a URI; no request is sent to a server yet.

    Args:
        uri: Path of a folder, ``file:///folder``, or a URI whose scheme a plugin opens.
        options: Options of the scheme's plugin, such as ``endpoint`` and ``region``; ignored for a folder.

    Raises:
        ConfigError: The URI is malformed, or no installed plugin opens its scheme.

    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        if not uri.strip() or "\x00" in uri:
            raise uri_error(uri, "is not a URI or a path")
        return Folder(Path(uri).expanduser())
    if scheme[0] == "file":
        return Folder(_file(uri))
    entry = _openers().get(scheme[0])
    if entry is None:
        message = f"no installed plugin opens {scheme[0]!r}"
        raise uri_error(uri, f"{message}: pip install {PROVIDERS[scheme[0]]}" if scheme[0] in PROVIDERS else message)
    objects: ObjectStore = entry.load()(uri, **options)
    return objects


@cache
def _openers() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def open_remote_store(remote_store: RemoteStore, *, connections: int = 16) -> ObjectStore:
    """Open the shared bucket of a flow or a task with the options of its store."""
    return open_uri(
        remote_store.uri,
        endpoint=remote_store.endpoint,
        region=remote_store.region,
        encryption=remote_store.encryption,
        kms_key=remote_store.kms_key,
        connections=connections,
    )


def open_related(
    objects: ObjectStore, uri: str, *, endpoint: str | None = None, region: str | None = None
) -> ObjectStore:
    """Open a URI that an object store refers to, by default on the server of that store.

    Both then share one connection, so that the server itself copies between them.
    """
    same = uri.partition(":")[0] == objects.uri.partition(":")[0]
    options = {name: value for name, value in (("endpoint", endpoint), ("region", region)) if value is not None}
    return open_uri(uri, **{**(objects.connection_options() if same else {}), **options})


def _file(uri: str) -> Path:
    parts = urlsplit(uri)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not os.path.isabs(path):  # noqa: PTH117
        raise uri_error(uri, "is not a folder of this machine, such as file:///folder")
    return Path(path)


def uri_error(uri: str, message: str) -> ConfigError:
    """Return the error for an invalid URI, with the supported forms."""
    return ConfigError([Fault(repr(uri), f"{message}. Known: {KNOWN}.")])
