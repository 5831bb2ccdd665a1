"""Sources of a migration: any store, opened for reading by its URI; the source itself is never written to."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pokeflow import PokeflowError
from pokeflow.errors import unknown
from pokeflow.objects import Folder, open_uri
from pokeflow_mlflow import address
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.migrate.entities import SourceStore
from pokeflow_mlflow.migrate.files import ArtifactResolver, local
from pokeflow_mlflow.migrate.folder import META, Mlruns
from pokeflow_mlflow.migrate.store import Store

SCHEMES = ("file", "sqlite", "http", "https", "s3")


def faults(source: "Source", experiments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Open a source, and yield (setting, error) for every error in it and in its settings.

    Args:
        source: The store to read.
        experiments: Ids or names of experiments that must exist.

    Raises:
        PokeflowError: The source cannot be read.

    """
    for old, new in source.new_prefixes.items():
        if (folder := local(new, source.base)) is not None and not folder.is_dir():
            yield f"artifacts.{old}", f"the folder {folder} does not exist"
    if fault := source.fault():
        yield "source", fault
        return
    with TemporaryDirectory(prefix="pokeflow-") as work, source.open(Path(work)) as reading:
        known_experiments = reading.experiments()
        for key in experiments:
            if not any(key in (experiment.id, experiment.name) for experiment in known_experiments):
                names = [f"{experiment.id} ({experiment.name})" for experiment in known_experiments]
                yield f"experiments.{key}", unknown("", "experiment in the source with id or name", key, names).message


@dataclass(frozen=True, slots=True)
class Source:
    """A store to read.

    Attributes:
        at: A URI or a folder.
        base: The folder that relative paths refer to.
        new_prefixes: New beginnings of artifact URIs, by their old beginnings.
        endpoint: The endpoint of the S3 server, if it is not AWS's.
        region: The region of the S3 server.

    """

    at: str
    base: Path
    new_prefixes: Mapping[str, str]
    endpoint: str | None = None
    region: str | None = None

    @property
    def uri(self) -> str:
        """The URI that runs are tagged with: absolute, without passwords."""
        if address.database(self.at) is not None:
            return f"sqlite:///{self._file().as_posix()}"
        folder = local(self.at, self.base)
        return folder.as_uri() if folder is not None else address.redact(self.at).rstrip("/")

    def fault(self) -> str | None:
        """Return why the source cannot be read, as far as its URI and the existence of a local path show; else None."""
        scheme, separator, _ = self.at.partition(":")
        if not self.at.strip():
            return "is empty; a folder, sqlite:///…, http(s)://… or s3://… is expected"
        if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) and scheme not in SCHEMES:
            return unknown("", "source of experiments with scheme", scheme, SCHEMES).message
        if scheme in ("sqlite", "http", "https"):
            return next(address.faults(self.at), None) or (
                f"the file {self._file()} does not exist. Correct the path"
                if scheme == "sqlite" and not self._file().is_file()
                else None
            )
        folder = local(self.at, self.base)
        return (
            f"the folder {folder} does not exist. Correct the path"
            if folder is not None and not folder.is_dir()
            else None
        )

    def _file(self) -> Path:
        return (self.base / self.at.removeprefix("sqlite:///").partition("?")[0]).resolve()

    @contextmanager
    def open(self, work: Path) -> Iterator[SourceStore]:
        """Yield the store for reading; copies that reading needs are written to ``work``."""
        if self.at.startswith("sqlite:"):
            with self._client(self._copy_database(work), (self._file().parent,)) as store:
                yield store
        elif self.at.startswith("s3:") and (mlruns := self._bucket()) is not None:
            yield mlruns
        elif self.at.startswith(("http:", "https:", "s3:")):
            with self._client(self.at, ()) as store:
                yield store
        else:
            folder = Path(local(self.at, self.base) or "")
            inner = folder / "mlruns"
            resolver = ArtifactResolver("", folder, self.new_prefixes, (folder,))
            yield _require_mlruns(
                Mlruns(Folder(inner if _has_no_experiments(folder) and inner.is_dir() else folder), resolver)
            )

    def _copy_database(self, work: Path) -> str:
        """Copy a SQLite file to ``work``, and return the URI of the copy.

        The copy can be upgraded to the schema of this MLflow, so that an old file itself is not changed.

        Raises:
            PokeflowError: If the file is no SQLite database of MLflow.

        """
        file, copy = self._file(), work / "source.db"
        copy.unlink(missing_ok=True)
        reading = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        with closing(reading) as old, closing(sqlite3.connect(copy)) as new:
            try:
                old.backup(new)
                tables = {name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            except sqlite3.DatabaseError as error:
                raise PokeflowError(f"{file}: not a SQLite database: {error}. Correct the source's address.") from None
        if not {"experiments", "runs"} <= tables:
            raise PokeflowError(
                f"{file}: not an MLflow database: it has no table of experiments. Correct the source's address."
            )
        return f"sqlite:///{copy}"

    @contextmanager
    def _client(self, uri: str, roots: tuple[Path, ...]) -> Iterator[Store]:
        with connect(uri, endpoint=self.endpoint, region=self.region) as connection:
            if uri.startswith("sqlite:"):
                _upgrade_schema(uri)
            base = roots[0] if roots else self.base
            yield Store(self.uri, connection.client, ArtifactResolver(uri, base, self.new_prefixes, roots))

    def _bucket(self) -> Mlruns | None:
        """Return the ``mlruns`` folder at an ``s3://`` URI; None for a store of mlflow-s3-store, which has an index."""
        objects = open_uri(self.at, endpoint=self.endpoint, region=self.region)
        if next(objects.list(".index/"), None) is not None:
            return None
        return _require_mlruns(Mlruns(objects, ArtifactResolver("", Path("/"), self.new_prefixes, ())))


def _require_mlruns(mlruns: Mlruns) -> Mlruns:
    if not any(key.count("/") == 1 and key.endswith(f"/{META}") for key in mlruns.keys):
        raise PokeflowError(
            f"{mlruns.uri}: not an MLflow file store: it has no experiment (*/{META}). Correct the source's address."
        )
    return mlruns


def _has_no_experiments(folder: Path) -> bool:
    return not any(folder.glob(f"*/{META}"))


def _upgrade_schema(uri: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        utils._verify_schema(engine)  # type: ignore[no-untyped-call]
    except MlflowException:
        # The same as 'mlflow db upgrade'.
        utils._upgrade_db(engine)  # type: ignore[no-untyped-call]
    finally:
        engine.dispose()
