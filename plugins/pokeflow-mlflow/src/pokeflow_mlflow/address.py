"""URIs of MLflow stores: validation, the file of a SQLite store, and the removal of credentials for display."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pokeflow.errors import unknown

_SQLITE = "sqlite:///"
_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")
# AWS's API reference: TrackingServerArn, MlflowAppArn.
_ARN = re.compile(
    r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:[0-9]{12}:mlflow-(tracking-server|app)/[A-Za-z0-9](-*[A-Za-z0-9]){0,255}"
)
_ARN_FORM = "arn:aws:sagemaker:<region>:<12-digit account>:mlflow-tracking-server/<name>, or …:mlflow-app/<id>"


def faults(uri: str) -> Iterator[str]:
    """Yield the errors of a store's URI, one sentence each."""
    scheme, separator, _ = uri.partition(":")
    if scheme == "file" or not separator:
        yield f"{uri!r} is a folder, but MLflow has deprecated its file store. Use sqlite:///<folder>/mlflow.db"
    elif scheme == "arn":
        yield from _arn_faults(uri)
    elif scheme == "s3":
        yield from _s3_faults(uri)
    elif scheme not in _schemes():
        hint = "Other tracking stores need their MLflow plugin installed."
        yield unknown("", "MLflow store with scheme", scheme, _schemes(), hint).message
    elif scheme == "sqlite":
        path = _sqlite_path(uri)
        if not path or path.startswith((":memory:", "file:")):
            yield f"{uri!r} names no file; use sqlite:///relative/mlflow.db or sqlite:////absolute/mlflow.db"
        elif "://" in path:
            yield f"{uri!r}: a SQLite database needs a local folder. Use the URL of an MLflow server instead"
    elif scheme in ("http", "https") and not urlsplit(uri).hostname:
        yield f"{redact(uri)!r} names no host; use https://host or http://host:port"
    if _USER_INFO.search(uri):
        yield (
            "contains a password, which would be stored in records; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )


def _arn_faults(uri: str) -> Iterator[str]:
    if not _ARN.fullmatch(uri):
        yield f"{uri!r} is not the ARN of SageMaker's managed MLflow. Use {_ARN_FORM}, as the console shows it"
    elif "arn" not in _schemes():
        yield (
            "SageMaker's managed MLflow needs the package sagemaker-mlflow, which is not installed. "
            "Install it: pip install 'pokeflow-mlflow[sagemaker]'"
        )


def _s3_faults(uri: str) -> Iterator[str]:
    if find_spec("mlflow_s3_store") is None:
        yield (
            "MLflow on S3 needs the package mlflow-s3-store, which is not installed. "
            "Install it: pip install 'pokeflow-mlflow[s3]'"
        )
        return
    from mlflow_s3_store import address_errors

    yield from address_errors(uri)


def is_server(address: str) -> bool:
    """Return whether an address is the URL of an HTTP server, without credentials or a query."""
    return bool(re.fullmatch(r"https?://[^\s@/?#]+(/[^\s@?#]*)?", address))


def database(uri: str) -> Path | None:
    """Return the file of a SQLite URI (three slashes: relative to the current folder, four: absolute), else None."""
    return Path(_sqlite_path(uri)).absolute() if uri.startswith(_SQLITE) else None


def redact(text: str) -> str:
    """Return the text without credentials: user names, passwords and signatures of all URIs in it."""
    from pokeflow.redaction import redact

    return str(redact(text))


def _sqlite_path(uri: str) -> str:
    return uri.removeprefix(_SQLITE).partition("?")[0] if uri.startswith(_SQLITE) else ""


def _schemes() -> set[str]:
    return {"sqlite", "http", "https", *(e.name for e in entry_points(group="mlflow.tracking_store"))}
