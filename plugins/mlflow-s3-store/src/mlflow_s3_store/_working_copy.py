"""The working copy: MLflow's own SQLite database, and beside its tables what is not in the bucket yet.

Triggers note every unit that a transaction changed within that transaction, whoever made it: a killed process leaves
nothing that was written and not noted.
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
from mlflow_s3_store._document import Document, Merged, Rows, merge
from mlflow_s3_store._layout import Place
from mlflow_s3_store._rows import mark, read_rows, redirect_inputs, rename_duplicate, write_rows
from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, METRICS, RUNS, Schema, ids

BUSY_SECONDS = 60.0


class Mark(NamedTuple):
    """A unit, or one metric's history of a run (``part``), that was changed here; ``moment`` tells changes apart."""

    kind: str
    id: str
    part: str
    moment: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a unit in the bucket: where it lies, the document and its etag."""

    place: Place
    etag: str
    body: bytes


Point = tuple[int, float, int, int]
"""Milliseconds since 1970, value, step, whether the value is no number."""


class WorkingCopy:
    """One SQLite file, shared by every process of this machine that uses the same tracking URI."""

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
                os.link(draft, file)  # whoever is first; the others take that one
            draft.unlink()
        self._mine, self._generation = threading.local(), 0
        self._open: list[sqlite3.Connection] = []
        forks.close_before_fork(self.close)
        with self._connected() as database:
            self.schema: Schema = schemas.read(database)
            triggers.install(database, self.schema)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """The connection of this thread."""
        if getattr(self._mine, "generation", None) != self._generation:
            mine = sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            mine.execute("PRAGMA synchronous = NORMAL")
            self._mine.connection, self._mine.generation = mine, self._generation
            self._open.append(mine)
        yield self._mine.connection

    def close(self) -> None:
        """Close every thread's connection, of which none may be in use; the next use opens another."""
        self._generation += 1
        while self._open:
            self._open.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the database for several questions."""
        with self._connected() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                database.execute("COMMIT")

    @contextmanager
    def importing(self) -> Iterator[sqlite3.Connection]:
        """A transaction whose changes are not noted: they come from the bucket."""
        with self._connected() as database:
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
        """Return what was changed here and is not in the bucket yet."""
        with self._connected() as database:
            return [Mark(*row) for row in database.execute("SELECT kind, id, part, moment FROM pokeflow_marks")]

    def is_clean(self) -> bool:
        """Whether everything is in the bucket."""
        with self._connected() as database:
            return database.execute("SELECT 1 FROM pokeflow_marks LIMIT 1").fetchone() is None

    def unmark(self, database: sqlite3.Connection, marks: Iterable[Mark]) -> None:
        """Forget changes that are in the bucket, unless there were others since."""
        sql = "DELETE FROM pokeflow_marks WHERE kind = ? AND id = ? AND part = ? AND moment = ?"
        database.executemany(sql, list(marks))

    def last_seen(self, kind: str, identity: str) -> Seen | None:
        """Return what was last seen of a unit in the bucket."""
        with self._connected() as database:
            sql = "SELECT kind, folder, name, etag, body FROM pokeflow_units WHERE kind = ? AND id = ?"
            row = database.execute(sql, (kind, identity)).fetchone()
        return Seen(Place(*row[:3]), row[3], row[4]) if row else None

    def is_marked(self, database: sqlite3.Connection, kind: str, identity: str) -> bool:
        """Whether a unit's rows were changed here and are not in the bucket yet."""
        sql = "SELECT 1 FROM pokeflow_marks WHERE kind = ? AND id = ? AND part = ''"
        return database.execute(sql, (kind, identity)).fetchone() is not None

    def forget(self, kind: str, identity: str) -> None:
        """Forget what was seen of a unit that is gone from the bucket, and note that it belongs there."""
        with self.importing() as database:
            database.execute("DELETE FROM pokeflow_units WHERE kind = ? AND id = ?", (kind, identity))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (identity,))
            mark(database, kind, "SELECT :id AS id", id=identity)
            sql = "SELECT DISTINCT run_uuid, key FROM metrics WHERE run_uuid = ?"
            for run, key in database.execute(sql, (identity,)).fetchall() if kind == RUNS else ():
                database.execute("INSERT OR IGNORE INTO pokeflow_marks VALUES (?, ?, ?, random())", (RUNS, run, key))

    def is_changed(self, kind: str, identity: str) -> bool:
        """Whether a unit, or one that lies in it, was changed here and is not in the bucket yet."""
        marks = self.marks()
        if kind == EXPERIMENTS:
            return any(identity in (mark.id, self.experiment_of(mark.kind, mark.id)) for mark in marks)
        return any((mark.kind, mark.id) == (kind, identity) for mark in marks)

    def drop(self, kind: str, identity: str) -> None:
        """Remove a unit here: it is gone from the bucket."""
        with self.importing() as database:
            for table in self.schema.unit(kind):
                database.execute(f'DELETE FROM "{table.name}" WHERE {table.where}', ids(identity))
            database.execute("DELETE FROM pokeflow_units WHERE kind = ? AND id = ?", (kind, identity))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (identity,))

    def remember(self, database: sqlite3.Connection, document: Document, known: Seen) -> None:
        """Remember what was seen of a unit."""
        row = (document.kind, document.id, known.place.folder, known.place.name, known.etag, known.body)
        database.execute("INSERT OR REPLACE INTO pokeflow_units VALUES (?, ?, ?, ?, ?, ?)", row)

    def indexes(self, prefix: str) -> dict[str, str]:
        """Return the etags of the indexes below a prefix as they were last seen."""
        with self._connected() as database:
            sql = "SELECT key, etag FROM pokeflow_seen WHERE key >= ? AND key < ?"
            return dict(database.execute(sql, (prefix, f"{prefix}\U0010ffff")).fetchall())

    def forget_index(self, key: str) -> None:
        """Forget an index that is gone."""
        with self._connected() as database:
            database.execute("DELETE FROM pokeflow_seen WHERE key = ?", (key,))

    def etags(self, places: Iterable[Place]) -> dict[Place, str]:
        """Return the etags of the documents at some places, as they were last seen."""
        sql = "SELECT etag FROM pokeflow_units WHERE kind = ? AND folder = ? AND name = ?"
        with self._connected() as database:
            rows = ((p, database.execute(sql, (p.kind, p.folder, p.name)).fetchone()) for p in places)
            return {place: row[0] for place, row in rows if row}

    def id_at(self, where: Place) -> str | None:
        """Return the id of the unit that lies at a place, as it was last seen."""
        sql = "SELECT id FROM pokeflow_units WHERE kind = ? AND folder = ? AND name = ?"
        with self._connected() as database:
            row = database.execute(sql, (where.kind, where.folder, where.name)).fetchone()
        return str(row[0]) if row else None

    def remember_indexes(self, database: sqlite3.Connection, indexes: Mapping[str, str]) -> None:
        """Remember indexes by key."""
        database.executemany("INSERT OR REPLACE INTO pokeflow_seen VALUES (?, ?)", list(indexes.items()))

    def document(self, kind: str, identity: str, database: sqlite3.Connection | None = None) -> Document:
        """Return a unit as it is here; no rows where there is none."""
        if database is None:
            with self.reading() as own:
                return self.document(kind, identity, own)
        rows: Rows = {}
        for table in self.schema.unit(kind):
            if table.name != METRICS:
                rows[table.name] = read_rows(database, table, identity)
        found = Document(kind, identity, rows)
        if not found.alive:
            found.rows = {}
        return found

    def points(self, run: str, key: str) -> list[Point]:
        """Return the history of a metric as it is here, in the order of its steps."""
        # The bound excludes nothing. Without it SQLite takes the index that begins with the metric: all runs have that.
        sql = (
            "SELECT timestamp, value, step, is_nan FROM metrics"
            " WHERE run_uuid = ? AND key = ? AND step >= -9223372036854775808 ORDER BY 3, 1, 2, 4"
        )
        with self._connected() as database:
            return database.execute(sql, (run, key)).fetchall()

    def add_points(self, database: sqlite3.Connection, run: str, key: str, points: Sequence[Point]) -> None:
        """Add points to a history; those that are there already stay."""
        sql = (
            "INSERT OR IGNORE INTO metrics (run_uuid, key, timestamp, value, step, is_nan)"
            " SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM runs WHERE run_uuid = ?)"
        )
        database.executemany(sql, [(run, key, *point, run) for point in points])

    def histories(self, run: str) -> dict[str, tuple[str, int]]:
        """Return the etag and the number of points of each history as it was last seen in the bucket."""
        with self._connected() as database:
            sql = "SELECT key, etag, points FROM pokeflow_histories WHERE run = ?"
            return {key: (etag, points) for key, etag, points in database.execute(sql, (run,))}

    def remember_history(self, database: sqlite3.Connection, run: str, key: str, etag: str, points: int) -> None:
        """Remember what was seen of a history."""
        database.execute("INSERT OR REPLACE INTO pokeflow_histories VALUES (?, ?, ?, ?)", (run, key, etag, points))

    def merge_remote(
        self, database: sqlite3.Connection, base: Document | None, theirs: Document, known: Seen
    ) -> tuple[tuple[str, Any], ...]:
        """Merge what changed in the bucket since ``base`` into the database; what was changed here meanwhile stays.

        Without a ``base`` nothing was. Returns the rows that could not stand beside theirs.
        """
        mine = self.document(theirs.kind, theirs.id, database)
        merged = merge(base, mine, theirs, self.schema) if base else Merged(theirs)
        if theirs.kind == DATASETS:
            redirect_inputs(database, mine, merged.document)
        if theirs.kind == EXPERIMENTS and merged.document.alive:
            rename_duplicate(database, merged.document)
        for table in self.schema.unit(theirs.kind):
            if table.name != METRICS:
                here, wanted = mine.rows.get(table.name, {}), merged.document.rows.get(table.name, {})
                write_rows(database, table, here, wanted)
        if mine.alive and not merged.document.alive and theirs.kind == RUNS:
            database.execute("DELETE FROM metrics WHERE run_uuid = ?", (theirs.id,))
            database.execute("DELETE FROM pokeflow_histories WHERE run = ?", (theirs.id,))
        self.remember(database, theirs, known)
        return merged.refused

    def experiment_of(self, kind: str, identity: str) -> str | None:
        """Return the experiment that a unit belongs to, by what is known here."""
        table = self.schema.tables[kind]
        if "experiment_id" not in table.columns:
            return None
        with self._connected() as database:
            row = database.execute(f'SELECT experiment_id FROM "{kind}" WHERE {table.where}', ids(identity)).fetchone()
        return str(row[0]) if row else None

    def is_empty(self) -> bool:
        """Whether nothing was ever seen of the bucket, and nothing changed here."""
        with self._connected() as database:
            sql = "SELECT 1 FROM pokeflow_units UNION ALL SELECT 1 FROM pokeflow_marks LIMIT 1"
            return database.execute(sql).fetchone() is None

    def has_experiment(self, name: str) -> bool:
        """Whether an experiment of this name is known here, a deleted one among them."""
        with self._connected() as database:
            return database.execute("SELECT 1 FROM experiments WHERE name = ?", (name,)).fetchone() is not None

    def version_of(self, name: str, created: int, source: str, run: str | None) -> int | None:
        """Return the number of the model version that was made at a moment from a source."""
        sql = "SELECT version FROM model_versions WHERE name = ? AND creation_time = ? AND source = ? AND run_id IS ?"
        with self._connected() as database:
            row = database.execute(f"{sql} ORDER BY version DESC", (name, created, source, run)).fetchone()
        return int(row[0]) if row else None

    def experiments(self) -> list[str]:
        """Return the ids of all experiments that are known here."""
        with self._connected() as database:
            return [str(number) for (number,) in database.execute(f"SELECT experiment_id FROM {EXPERIMENTS}")]
