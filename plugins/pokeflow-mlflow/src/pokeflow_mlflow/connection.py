"""A connection to an MLflow store: no global state, one writer at a time where the store is a SQLite file."""

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
ANSWER_SECONDS = 10
"""How long a server may take for its first answer, before it counts as away."""
# Read by MLflow when it is imported; what the environment says already stands.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that goes away meanwhile is known in seconds, one that hangs in a minute and a half: MLflow waits for
    # an hour by default.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # No open file outlives its use, so that a forked process inherits none.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of one store, and the folder of its database; None where a server or a bucket keeps it."""

    client: "MlflowClient"
    folder: Path | None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made if there is none."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, self._artifacts(name)))
            except MlflowException as error:
                # Somebody else on the same server was quicker.
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise error from None
        if found.lifecycle_stage != "active":
            raise PokeflowError(f"MLflow: experiment {name!r} was deleted. Restore it there, or name another one.")
        return str(found.experiment_id)

    def _artifacts(self, name: str) -> str | None:
        if self.folder is None:
            return None
        # MLflow's default is ./mlruns, wherever the process happens to be.
        return (self.folder / "mlartifacts" / re.sub(r"[^\w.-]|^\.+", "-", name)).as_uri()


@contextmanager
def connect(
    uri: str, registry_uri: str | None = None, *, endpoint: str | None = None, region: str | None = None
) -> Iterator[Connection]:
    """Open a store, and a registry if it is elsewhere; whatever MLflow reports is raised as PokeflowError.

    A SQLite file is made if it is missing, its folder too. A lock beside it lets one process in at a time:
    MLflow's migrations must not meet, and SQLite fails where two transactions both go from reading to writing.
    A server must answer within ``ANSWER_SECONDS``. ``endpoint`` and ``region`` are of the S3 server that keeps
    artifacts, or the store itself: told in variables, unless these say something already.
    """
    # The endpoint goes into MLflow's variable alone: AWS's own would send the store's requests there as well.
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
            # In one order everywhere, or two processes could wait for each other.
            for each in sorted(files):
                each.parent.mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(f"{each}.lock", timeout=LOCK_SECONDS))
                if not each.exists():
                    log.info("making the MLflow database %s", each)
            locks.enter_context(_named(uri))
            _require_answer(uri)
            client = MlflowClient(tracking_uri=_resolved(uri), registry_uri=_resolved(registry_uri or uri))
            yield Connection(client, file.parent if file else None)
    except Timeout as error:
        raise PokeflowError(f"{error.lock_file}: another process has held it for {LOCK_SECONDS} s.") from None
    except _reported() as error:
        # Not chained: the original may hold the address with its password.
        what = redact(str(error)).partition("\n")[0]
        raise PokeflowError(f"MLflow at {redact(uri)}: {what} ({type(error).__name__})") from None


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Tell SageMaker's plugin, which signs requests for the server of the process-wide address, which one is meant."""
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


def _require_answer(uri: str) -> None:
    """Let a server that is away be known at once: of all requests this one is tried once, and not for long."""
    if not uri.startswith(("http:", "https:")):
        return
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    creds = get_default_host_creds(uri)  # type: ignore[no-untyped-call]  # MLflow's own
    once = {"timeout": ANSWER_SECONDS, "max_retries": 0, "raise_on_status": False}
    try:
        # Any answer will do, a refusal as well: what is asked for later tells more.
        http_request(creds, "/health", "GET", **once)  # type: ignore[no-untyped-call]  # MLflow's own
    except MlflowException as error:
        raise PokeflowError(f"MLflow at {redact(uri)}: no answer ({redact(str(error))}).") from None


def _reported() -> tuple[type[Exception], ...]:
    """What MLflow, its database and, where it has been loaded, AWS's SDK report faults by."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    known: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, OSError)
    if "boto3" not in sys.modules:
        return known
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (*known, Boto3Error, BotoCoreError, ClientError)


def _resolved(uri: str) -> str:
    """The same address, whatever the current folder is later."""
    file = database(uri)
    if file is None:
        return uri
    return "?".join([f"sqlite:///{file.as_posix()}", *uri.split("?", 1)[1:]])


def upload(label: str, folder: Path, files: Iterable[File], put: Callable[[str, str], None]) -> None:
    """Send files of a result; ``put`` takes a file's path and the artifact folder it belongs in."""
    chosen = [(file, folder / file.path) for file in files if (folder / file.path).is_file()]
    with progress.bar(label, sum(file.size for file, _ in chosen) or 1) as advance:
        for file, path in chosen:
            put(str(path), file.path.rpartition("/")[0])
            advance(file.size, text=file.path)


def synchronize(client: "MlflowClient") -> None:
    """Let those who write to the same store see each other's last word: at ``s3://`` that is not so at every moment."""
    synchronizer = getattr(client._tracking_client.store, "synchronizer", None)
    if synchronizer is not None:
        synchronizer.synchronize()
