"""Connections to MLflow stores, without MLflow's global state; a SQLite file is open in one process at a time."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pokeflow import File, PokeflowError, progress
from pokeflow_mlflow.address import database, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

_VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_SECONDS = 600
RESPONSE_SECONDS = 10
"""Seconds a server may take for its first response before it counts as unreachable."""
# MLflow reads these when it is imported. Variables that are already set keep their values.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that becomes unreachable is detected in seconds, one that hangs in a minute and a half. By default MLflow
    # waits for an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Connections are closed after every use, so that a forked process inherits none.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of one store, and the folder of its database, which is None for a server or a bucket."""

    client: "MlflowClient"
    folder: Path | None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; create the experiment if it does not exist.

        Raises:
            PokeflowError: The experiment was deleted in MLflow.

        """
        from mlflow.exceptions import MlflowException

        existing = self.client.get_experiment_by_name(name)
        if existing is None:
            try:
                return str(self.client.create_experiment(name, self._artifacts(name)))
            except MlflowException as error:
                # Another client of the same server may have created it in the meantime.
                existing = self.client.get_experiment_by_name(name)
                if existing is None:
                    raise error from None
        if existing.lifecycle_stage != "active":
            raise PokeflowError(
                f"MLflow: experiment {name!r} was deleted. Restore it in MLflow, or choose another name."
            )
        return str(existing.experiment_id)

    def _artifacts(self, name: str) -> str | None:
        if self.folder is None:
            return None
        # MLflow's default is ./mlruns in the current folder of the process.
        return (self.folder / "mlartifacts" / re.sub(r"[^\w.-]|^\.+", "-", name)).as_uri()


@contextmanager
def connect(
    uri: str, registry_uri: str | None = None, *, endpoint: str | None = None, region: str | None = None
) -> Iterator[Connection]:
    """Open a tracking store and its model registry.

    A missing SQLite file is created, with its folder. A lock file next to it admits one process at a time: MLflow's
    schema migrations must not run at the same time, and SQLite fails if two transactions both go from reading to
    writing. A server must respond within ``RESPONSE_SECONDS``.

    Args:
        uri: The tracking store.
        registry_uri: The model registry, if it is not at ``uri``.
        endpoint: The endpoint of the S3 server that keeps the artifacts or the store itself. It is set as an
            environment variable, unless that variable is already set.
        region: The region of the S3 server; set in the same way.

    Raises:
        PokeflowError: If MLflow reports an error, the server does not respond, or another process holds the lock for
            more than ``LOCK_SECONDS``.

    """
    # The endpoint is set only in MLflow's variable: AWS's own would send the store's requests there as well.
    aws = {"MLFLOW_S3_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": region}
    for name, value in {**_SETTINGS, **aws}.items():
        if value is not None:
            os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    file = database(uri)
    files = {f for f in (file, database(registry_uri or uri)) if f}
    try:
        with ExitStack() as locks:
            # All processes take the locks in the same order, or two of them could wait for each other.
            for path in sorted(files):
                path.parent.mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(f"{path}.lock", timeout=LOCK_SECONDS))
                if not path.exists():
                    log.info("creating the MLflow database %s", path)
            locks.enter_context(_with_tracking_uri(uri))
            _require_response(uri)
            client = MlflowClient(tracking_uri=_resolve(uri), registry_uri=_resolve(registry_uri or uri))
            yield Connection(client, file.parent if file else None)
    except Timeout as error:
        raise PokeflowError(
            f"{error.lock_file}: another process has held the lock for {LOCK_SECONDS} s. Wait until it has finished."
        ) from None
    except _store_errors() as error:
        # Not chained: the original message may contain the URI with its password.
        message = redact(str(error)).partition("\n")[0]
        raise PokeflowError(f"MLflow at {redact(uri)}: {message} ({type(error).__name__})") from None


@contextmanager
def _with_tracking_uri(uri: str) -> Iterator[None]:
    """Set the process-wide tracking URI while a server of SageMaker is used.

    SageMaker's plugin signs requests for the server of this URI. Other stores need no such setting.
    """
    if not uri.startswith("arn:"):
        yield
        return
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def _require_response(uri: str) -> None:
    """Raise a PokeflowError if a server is unreachable.

    Unlike all other requests, this one is sent only once and with a short timeout, so that the error comes at once.
    """
    if not uri.startswith(("http:", "https:")):
        return
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    creds = get_default_host_creds(uri)  # type: ignore[no-untyped-call]  # MLflow's own
    once = {"timeout": RESPONSE_SECONDS, "max_retries": 0, "raise_on_status": False}
    try:
        # Any response is enough, even a refusal: later requests report errors in more detail.
        http_request(creds, "/health", "GET", **once)  # type: ignore[no-untyped-call]  # MLflow's own
    except MlflowException as error:
        message = f"no response ({redact(str(error))}). Check tracking.uri and the network."
        raise PokeflowError(f"MLflow at {redact(uri)}: {message}") from None


def _store_errors() -> tuple[type[Exception], ...]:
    """Return the exception types of MLflow, its database and, if it is loaded, AWS's SDK."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    types: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, OSError)
    if "boto3" not in sys.modules:
        return types
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (*types, Boto3Error, BotoCoreError, ClientError)


def _resolve(uri: str) -> str:
    """Return the URI with the absolute path of a SQLite file, so that it stays valid in another current folder."""
    file = database(uri)
    if file is None:
        return uri
    return "?".join([f"sqlite:///{file.as_posix()}", *uri.split("?", 1)[1:]])


def upload(label: str, folder: Path, files: Iterable[File], put: Callable[[str, str], None]) -> None:
    """Upload files of a result that exist in a folder.

    Args:
        label: Label of the progress bar.
        folder: Folder of the result.
        files: The files of the result.
        put: Uploads a file; called with its local path and its artifact folder.

    """
    chosen = [(file, folder / file.path) for file in files if (folder / file.path).is_file()]
    with progress.bar(label, sum(file.size for file, _ in chosen) or 1) as advance:
        for file, path in chosen:
            put(str(path), file.path.rpartition("/")[0])
            advance(file.size, text=file.path)


def synchronize(client: "MlflowClient") -> None:
    """Publish local changes of a store on ``s3://`` and expire its cache, so that concurrent writers see each other.

    All other stores are always up to date.
    """
    synchronizer = getattr(client._tracking_client.store, "synchronizer", None)
    if synchronizer is not None:
        synchronizer.synchronize()
