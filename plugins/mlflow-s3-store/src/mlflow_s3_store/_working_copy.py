"""Working copy: MLflow's own SQLite database, with additional tables that record changes to be published.

Triggers mark every unit that a transaction changes within that transaction, in every process: so a killed process
leaves no change without a mark.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_s3_store import _forks as forks
from mlflow_s3_store import _schema as schemas
from mlflow_s3_store import _triggers as triggers
from mlflow_s3_store._document import Document, MergeResult, Rows, merge
from mlflow_s3_store._layout import UnitPath
from mlflow_s3_store._rows import mark, read_rows, redirect_inputs, rename_duplicate, write_rows
from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, METRICS, RUNS, Schema, ids

BUSY_SECONDS = 60.0


class Mark(NamedTuple):
    """A unit, or one metric's history of a run (``part``), that was changed here; ``moment`` distinguishes changes."""

    kind: str
    id: str
    part: str
    moment: int


@dataclass(frozen=True, slots=True)
class RemoteSnapshot:
    """Last known state of a unit in the bucket: its location, the ETag of its document and the document itself."""

    path: UnitPath
    etag: str
    body: bytes


Point = tuple[int, float, int, int]
"""Milliseconds since 1970, value, step, and 1 if the value is NaN, else 0."""


class WorkingCopy:
    """A SQLite file that all processes of this machine with the same tracking URI share."""

    def __init__(self, file: Path, template: Path, uri: str) -> None:
        self.file = file
        if not file.exists():
            draft = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
            shutil.copyfile(template, draft)
            with contextlib.closing(sqlite3.connect(draft)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                # The one experiment that every MLflow database begins with.
                database.execute("UPDATE experiments SET artifact_location = ?", (f"{uri}/Default",))
                database.commit()
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)  # the first process creates it; the others use its file
            draft.unlink()
        self._local, self._generation = threading.local(), 0
        self._open: list[sqlite3.Connection] = []
        forks.close_before_fork(self.close)
        with self._connect() as database:
            self.schema: Schema = schemas.read(database)
            triggers.install(database, self.schema)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection of this thread."""
        if getattr(self._local, "generation", None) != self._generation:
            connection = sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection, self._local.generation = connection, self._generation
            self._open.append(connection)
        yield self._local.connection

    def close(self) -> None:
        """Close the connections of all threads, none of which may be in use; the next use opens a new one."""
        self._generation += 1
        while self._open:
            self._open.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a read transaction, so that several queries see one state of the database."""
        with self._connect() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                database.execute("COMMIT")

    @contextmanager
    def importing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction whose changes are not marked, because they come from the bucket."""
        with self._connect() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                database.execute("UPDATE pokeflow_state SET importing = 1")
                yield database
                database.execute("UPDATE pokeflow_state SET importing = 0")
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def marks(self) -> list[Mark]:
        """Return the marks of all changes that are not in the bucket yet."""
        with self._connect() as database:
            return [Mark(*row) for row in database.execute("SELECT kind, id, part, moment FROM pokeflow_marks")]

    def is_clean(self) -> bool:
        """Return whether all changes are in the bucket."""
        with self._connect() as database:
            return database.execute("SELECT 1 FROM pokeflow_marks LIMIT 1").fetchone() is None

    def unmark(self, database: sqlite3.Connection, marks: Iterable[Mark]) -> None:
        """Remove the marks of published changes, unless there were other changes since."""
        sql = "DELETE FROM pokeflow_marks WHERE kind = ? AND id = ? AND part = ? AND moment = ?"
        database.executemany(sql, list(marks))

    def last_seen(self, kind: str, identity: str) -> RemoteSnapshot | None:
        """Return the last known state of a unit in the bucket, or None."""
        with self._connect() as database:
            sql = "SELECT kind, folder, name, etag, body FROM pokeflow_units WHERE kind = ? AND id = ?"
            row = database.execute(sql, (kind, identity)).fetchone()
        return RemoteSnapshot(UnitPath(*row[:3]), row[3], row[4]) if row else None

    def is_marked(self, database: sqlite3.Connection, kind: str, identity: str) -> bool:
        """Return whether a unit's rows were changed here and are not in the bucket yet."""
        sql = "SELECT 1 FROM pokeflow_marks WHERE kind = ? AND id = ? AND part = ''"
        return database.execute(sql, (kind, identity)).fetchone() is not None

    def forget(self, kind: str, identity: str) -> None:
        """Forget the remote state of a unit that was removed from the bucket, and mark it to be published again."""
        with self.importing() as database:
            database.execute("DELETE FROM pokeflow_units WHERE kind = ? AND id = ?", (kind, identity))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (identity,))
            mark(database, kind, "SELECT :id AS id", id=identity)
            sql = "SELECT DISTINCT run_uuid, key FROM metrics WHERE run_uuid = ?"
            for run, key in database.execute(sql, (identity,)).fetchall() if kind == RUNS else ():
                database.execute("INSERT OR IGNORE INTO pokeflow_marks VALUES (?, ?, ?, random())", (RUNS, run, key))

    def is_changed(self, kind: str, identity: str) -> bool:
        """Return whether a unit, or for an experiment one in it, was changed here and is not in the bucket yet."""
        marks = self.marks()
        if kind == EXPERIMENTS:
            return any(identity in (mark.id, self.experiment_of(mark.kind, mark.id)) for mark in marks)
        return any((mark.kind, mark.id) == (kind, identity) for mark in marks)

    def drop(self, kind: str, identity: str) -> None:
        """Delete a unit here, because it was removed from the bucket."""
        with self.importing() as database:
            for table in self.schema.unit(kind):
                database.execute(f'DELETE FROM "{table.name}" WHERE {table.where}', ids(identity))
            database.execute("DELETE FROM pokeflow_units WHERE kind = ? AND id = ?", (kind, identity))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (identity,))

    def remember(self, database: sqlite3.Connection, document: Document, snapshot: RemoteSnapshot) -> None:
        """Store the last known state of a unit in the bucket."""
        row = (document.kind, document.id, snapshot.path.folder, snapshot.path.name, snapshot.etag, snapshot.body)
        database.execute("INSERT OR REPLACE INTO pokeflow_units VALUES (?, ?, ?, ?, ?, ?)", row)

    def indexes(self, prefix: str) -> dict[str, str]:
        """Return the last known ETags of the indexes below a prefix, by key."""
        with self._connect() as database:
            sql = "SELECT key, etag FROM pokeflow_seen WHERE key >= ? AND key < ?"
            return dict(database.execute(sql, (prefix, f"{prefix}\U0010ffff")).fetchall())

    def forget_index(self, key: str) -> None:
        """Forget an index that was removed from the bucket."""
        with self._connect() as database:
            database.execute("DELETE FROM pokeflow_seen WHERE key = ?", (key,))

    def etags(self, paths: Iterable[UnitPath]) -> dict[UnitPath, str]:
        """Return the last known ETags of the documents at some locations."""
        sql = "SELECT etag FROM pokeflow_units WHERE kind = ? AND folder = ? AND name = ?"
        with self._connect() as database:
            rows = ((p, database.execute(sql, (p.kind, p.folder, p.name)).fetchone()) for p in paths)
            return {path: row[0] for path, row in rows if row}

    def id_at(self, path: UnitPath) -> str | None:
        """Return the id of the unit that was last known at a location, or None."""
        sql = "SELECT id FROM pokeflow_units WHERE kind = ? AND folder = ? AND name = ?"
        with self._connect() as database:
            row = database.execute(sql, (path.kind, path.folder, path.name)).fetchone()
        return str(row[0]) if row else None

    def remember_indexes(self, database: sqlite3.Connection, indexes: Mapping[str, str]) -> None:
        """Store the last known ETags of indexes, by key."""
        database.executemany("INSERT OR REPLACE INTO pokeflow_seen VALUES (?, ?)", list(indexes.items()))

    def document(self, kind: str, identity: str, database: sqlite3.Connection | None = None) -> Document:
        """Return the local state of a unit; a document without rows if it does not exist."""
        if database is None:
            with self.reading() as connection:
                return self.document(kind, identity, connection)
        rows: Rows = {}
        for table in self.schema.unit(kind):
            if table.name != METRICS:
                rows[table.name] = read_rows(database, table, identity)
        local_state = Document(kind, identity, rows)
        if not local_state.alive:
            local_state.rows = {}
        return local_state

    def points(self, run: str, key: str) -> list[Point]:
        """Return the local history of a metric, in the order of step, time and value."""
        # The bound excludes no row. Without it SQLite uses the index that begins with the metric, which all runs share.
        sql = (
            "SELECT timestamp, value, step, is_nan FROM metrics"
            " WHERE run_uuid = ? AND key = ? AND step >= -9223372036854775808 ORDER BY 3, 1, 2, 4"
        )
        with self._connect() as database:
            return database.execute(sql, (run, key)).fetchall()

    def add_points(self, database: sqlite3.Connection, run: str, key: str, points: Sequence[Point]) -> None:
        """Add points to the history of a run that exists here; existing points stay.

        Args:
            database: The working copy.
            run: Id of the run.
            key: Name of the metric.
            points: The points to add.

        """
        sql = (
            "INSERT OR IGNORE INTO metrics (run_uuid, key, timestamp, value, step, is_nan)"
            " SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM runs WHERE run_uuid = ?)"
        )
        database.executemany(sql, [(run, key, *point, run) for point in points])

    def histories(self, run: str) -> dict[str, tuple[str, int]]:
        """Return the last known ETag and number of points of each history in the bucket, by metric."""
        with self._connect() as database:
            sql = "SELECT key, etag, points FROM pokeflow_histories WHERE run = ?"
            return {key: (etag, points) for key, etag, points in database.execute(sql, (run,))}

    def remember_history(self, database: sqlite3.Connection, run: str, key: str, etag: str, points: int) -> None:
        """Store the last known ETag and number of points of a history in the bucket.

        Args:
            database: The working copy.
            run: Id of the run.
            key: Name of the metric.
            etag: ETag of the history.
            points: Number of its points.

        """
        database.execute("INSERT OR REPLACE INTO pokeflow_histories VALUES (?, ?, ?, ?)", (run, key, etag, points))

    def merge_remote(
        self, database: sqlite3.Connection, base: Document | None, theirs: Document, snapshot: RemoteSnapshot
    ) -> tuple[tuple[str, Any], ...]:
        """Merge a unit's changes in the bucket into the database; changes made here meanwhile stay.

        Args:
            database: The working copy.
            base: Last common state; None: nothing was changed here.
            theirs: State of the bucket.
            snapshot: Location, ETag and content of that state.

        Returns:
            Table and key of each row that conflicts with theirs and lost.

        """
        ours = self.document(theirs.kind, theirs.id, database)
        merged = merge(base, ours, theirs, self.schema) if base else MergeResult(theirs)
        if theirs.kind == DATASETS:
            redirect_inputs(database, ours, merged.document)
        if theirs.kind == EXPERIMENTS and merged.document.alive:
            rename_duplicate(database, merged.document)
        for table in self.schema.unit(theirs.kind):
            if table.name != METRICS:
                current, target = ours.rows.get(table.name, {}), merged.document.rows.get(table.name, {})
                write_rows(database, table, current, target)
        if ours.alive and not merged.document.alive and theirs.kind == RUNS:
            database.execute("DELETE FROM metrics WHERE run_uuid = ?", (theirs.id,))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (theirs.id,))
        self.remember(database, theirs, snapshot)
        return merged.refused

    def experiment_of(self, kind: str, identity: str) -> str | None:
        """Return the id of a unit's experiment; None if the unit is unknown here or belongs to no experiment."""
        table = self.schema.tables[kind]
        if "experiment_id" not in table.columns:
            return None
        with self._connect() as database:
            row = database.execute(f'SELECT experiment_id FROM "{kind}" WHERE {table.where}', ids(identity)).fetchone()
        return str(row[0]) if row else None

    def is_empty(self) -> bool:
        """Return whether no unit was ever read from the bucket and none was changed here."""
        with self._connect() as database:
            sql = "SELECT 1 FROM pokeflow_units UNION ALL SELECT 1 FROM pokeflow_marks LIMIT 1"
            return database.execute(sql).fetchone() is None

    def has_experiment(self, name: str) -> bool:
        """Return whether an experiment of this name, even a deleted one, is known here."""
        with self._connect() as database:
            return database.execute("SELECT 1 FROM experiments WHERE name = ?", (name,)).fetchone() is not None

    def version_of(self, name: str, created: int, source: str, run: str | None) -> int | None:
        """Return the number of a model version, or None if it does not exist.

        Args:
            name: Name of the registered model.
            created: Time of its creation in ms since 1970.
            source: URI of its source.
            run: Id of its run, or None.

        """
        sql = "SELECT version FROM model_versions WHERE name = ? AND creation_time = ? AND source = ? AND run_id IS ?"
        with self._connect() as database:
            row = database.execute(f"{sql} ORDER BY version DESC", (name, created, source, run)).fetchone()
        return int(row[0]) if row else None

    def experiments(self) -> list[str]:
        """Return the ids of all experiments that are known here."""
        with self._connect() as database:
            return [str(number) for (number,) in database.execute(f"SELECT experiment_id FROM {EXPERIMENTS}")]
