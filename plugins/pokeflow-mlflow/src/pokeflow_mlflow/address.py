"""The address of an MLflow store: which ones are taken, where a SQLite one lies, and how to show one."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from pokeflow.errors import unknown

_SQLITE = "sqlite:///"
_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")


def faults(uri: str) -> Iterator[str]:
    """What keeps an address from being used, one sentence each."""
    scheme, separator, _ = uri.partition(":")
    if scheme == "file" or not separator:
        yield f"{uri!r} is a folder; MLflow is giving up its file store. Use sqlite:///<folder>/mlflow.db"
    elif scheme not in _schemes():
        hint = "A package that adds a tracking store to MLflow may bring it."
        yield unknown("", "MLflow store with scheme", scheme, _schemes(), hint).message
    elif scheme == "sqlite":
        path = _sqlite_path(uri)
        if not path or path.startswith((":memory:", "file:")):
            yield f"{uri!r} names no file; use sqlite:///relative/mlflow.db or sqlite:////absolute/mlflow.db"
        elif "://" in path:
            yield f"{uri!r}: a SQLite database needs a local folder. Give the address of an MLflow server instead"
    elif scheme in ("http", "https") and not urlsplit(uri).hostname:
        yield f"{redact(uri)!r} names no host"
    if _USER_INFO.search(uri):
        yield "holds a password, which records would keep; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


def database(uri: str) -> Path | None:
    """The file of a SQLite address: relative to the current folder after three slashes, absolute after four."""
    return Path(_sqlite_path(uri)).absolute() if uri.startswith(_SQLITE) else None


def redact(text: str) -> str:
    """The text without the user names and passwords of any addresses in it."""
    return _USER_INFO.sub("", text)


def _sqlite_path(uri: str) -> str:
    return uri.removeprefix(_SQLITE).partition("?")[0] if uri.startswith(_SQLITE) else ""


def _schemes() -> set[str]:
    return {"sqlite", "http", "https", *(e.name for e in entry_points(group="mlflow.tracking_store"))}
