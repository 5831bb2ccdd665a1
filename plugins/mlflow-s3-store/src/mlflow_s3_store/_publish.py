"""Publishing of local changes to the bucket: by compare-and-swap, merged with changes that were published first."""

import random
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mlflow_s3_store._conflicts import warn_of_conflicts
from mlflow_s3_store._document import Document, decode, encode, merge
from mlflow_s3_store._histories import publish_history
from mlflow_s3_store._layout import IN_EXPERIMENT, UnitPath, experiment_folder, experiment_id, locate_unit
from mlflow_s3_store._refresh import refresh
from mlflow_s3_store._replica import ATTEMPTS, Replica
from mlflow_s3_store._schema import EXPERIMENTS, RUNS
from mlflow_s3_store._working_copy import Mark, RemoteSnapshot
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, NotFoundError, PreconditionError

Item = TypeVar("Item")
Result = TypeVar("Result")


def publish(replica: Replica, marks: Iterable[Mark] | None = None) -> None:
    """Publish all marked changes, or only ``marks``; an error with one unit does not stop the others.

    Files of a run are written first, then the document that lists them, then its index: a reader who sees the index
    finds everything that it announces. Experiments are written before the units in them, data sets and logged models
    before the runs that refer to them.

    Raises:
        PokeflowError: The first error, raised at the end.

    """
    work = _Round(replica, replica.copy.marks() if marks is None else list(marks))
    units = list(dict.fromkeys((mark.kind, mark.id) for mark in work.marks))
    if not units:
        return
    experiments = {unit for unit in units if unit[0] == EXPERIMENTS} | _unknown_experiments(replica, units)
    work.documents(sorted(experiments))
    work.documents([unit for unit in units if unit[0] not in (EXPERIMENTS, RUNS)])
    runs = [unit for unit in units if unit[0] == RUNS]
    work.files_of_runs([identity for _, identity in runs])
    work.documents(runs)
    work.indexes()
    if work.errors:
        raise work.errors[0]


class _Round:
    """One round of publishing; errors are collected, so that they do not stop the other units."""

    def __init__(self, replica: Replica, marks: list[Mark]) -> None:
        self.replica, self.marks = replica, marks
        self.changed: list[tuple[tuple[str, str], UnitPath | None]] = []
        self.done: set[Mark] = set()
        self.errors: list[PokeflowError] = []

    def each(self, call: Callable[[Item], Result | None], items: Iterable[Item]) -> list[Result]:
        """Call a function for every item; return the results of the calls that succeeded, and collect their errors."""

        def call_one(item: Item) -> Result | None:
            try:
                return call(item)
            except PokeflowError as error:
                self.errors.append(error)
            except (sqlite3.IntegrityError, OverflowError) as error:
                self.errors.append(
                    PokeflowError(f"{self.replica.uri}: {item} conflicts with the working copy: {error}.")
                )
            return None

        return [result for result in self.replica.map(call_one, items) if result is not None]

    def documents(self, units: Sequence[tuple[str, str]]) -> None:
        """Publish the current state of these units."""
        self.changed += self.each(lambda unit: (unit, _publish_document(self.replica, *unit)), units)

    def files_of_runs(self, runs: Sequence[str]) -> None:
        """Publish the histories and the parameters of runs."""
        paths = {run: path for run in runs if (path := _unit_path(self.replica, RUNS, run))}
        points = [mark for mark in self.marks if mark.part and mark.id in paths]
        unlocated = {mark for mark in self.marks if mark.part and mark.id not in paths}
        self.done = unlocated | set(self.each(lambda mark: publish_history(self.replica, mark, paths[mark.id]), points))
        self.each(lambda run: _publish_params(self.replica, run, paths[run]), paths)

    def indexes(self) -> None:
        """Write the indexes of all changed units, then remove the marks: after an earlier kill these still exist."""
        copy = self.replica.copy
        results = self.each(
            lambda change: (change[0], _write_index(self.replica, change[1]) if change[1] else None), self.changed
        )
        units = {unit for unit, _ in results}
        published = [m for m in self.marks if (m.kind, m.id) in units and (not m.part or m in self.done)]
        with copy.importing() as database:
            copy.remember_indexes(database, dict(index for _, index in results if index))
            copy.unmark(database, published)


def _unknown_experiments(replica: Replica, units: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the experiments of these units that are not known to be in the bucket."""
    ids = {replica.copy.experiment_of(*unit) for unit in units if unit[0] in IN_EXPERIMENT} - {None}
    return {
        (EXPERIMENTS, identity)
        for identity in ids
        if identity and replica.copy.last_seen(EXPERIMENTS, identity) is None
    }


def _unit_path(replica: Replica, kind: str, identity: str) -> UnitPath | None:
    """Return the current or future location of a unit; None if the location of its experiment is unknown."""
    snapshot = replica.copy.last_seen(kind, identity)
    if snapshot:
        return snapshot.path
    if kind not in IN_EXPERIMENT:
        return locate_unit(kind, identity)
    experiment = replica.copy.experiment_of(kind, identity)
    home = replica.copy.last_seen(EXPERIMENTS, experiment) if experiment else None
    return locate_unit(kind, identity, home.path.home) if home else None


def _publish_document(replica: Replica, kind: str, identity: str) -> UnitPath | None:
    """Write a unit's document, and return its location; None for a unit that was deleted before it was published.

    Raises:
        PokeflowError: The unit has no known experiment, or others wrote to it in all ``ATTEMPTS`` attempts.

    """
    copy = replica.copy
    for attempt in range(ATTEMPTS):
        snapshot = copy.last_seen(kind, identity)
        base = decode(snapshot.body, copy.schema, snapshot.path.document) if snapshot else Document(kind, identity)
        ours = copy.document(kind, identity)
        if kind == RUNS:
            ours.histories = {key: points for key, (_, points) in copy.histories(identity).items()}
        if not ours.alive and snapshot is None:
            return None  # created and deleted before it was published
        if kind == EXPERIMENTS and snapshot is None:
            path: UnitPath | None = _locate_new_experiment(replica, ours, attempt)
        else:
            path = _unit_path(replica, kind, identity)
        if path is None:
            raise PokeflowError(
                f"{replica.uri}: {kind} {identity} belongs to no known experiment. Restore its experiment."
            )
        merged = merge(base, ours, base, copy.schema).document
        data = encode(merged, copy.schema)
        if snapshot and data == snapshot.body:
            return path
        try:
            etag = replica.objects.write(path.document, data, match=snapshot.etag if snapshot else ABSENT)
        except PreconditionError:
            _merge_remote_document(replica, path, base)
            time.sleep(random.random() * 0.02 * min(attempt, 10))  # noqa: S311 - no secret is drawn
            continue
        with copy.importing() as database:
            copy.remember(database, merged, RemoteSnapshot(path, etag, data))
        if not merged.alive:
            _delete_parts(replica, path)
        return path
    raise PokeflowError(
        f"{replica.uri}: other machines wrote to {kind} {identity} at every attempt. It will be retried."
    )


def _locate_new_experiment(replica: Replica, ours: Document, attempt: int) -> UnitPath:
    """Return the location of a new experiment: a folder named after it, with a number if earlier attempts failed."""
    return locate_unit(EXPERIMENTS, ours.id, experiment_folder(str(ours.head["name"]), 1 + attempt))


def _merge_remote_document(replica: Replica, path: UnitPath, base: Document) -> None:
    """Merge the document in the bucket into the working copy; forget the remote state if it no longer exists."""
    copy = replica.copy
    try:
        data, etag = replica.objects.read(path.document)
    except NotFoundError:
        copy.forget(base.kind, base.id)
        return
    if base.kind == EXPERIMENTS and base.rows:
        refresh(replica, EXPERIMENTS)  # all of them: one may have taken over the name of another
    theirs = decode(data, copy.schema, path.document)
    if (theirs.kind, theirs.id) != (base.kind, base.id):
        if base.kind == EXPERIMENTS:
            return  # the next attempt takes another folder
        raise PokeflowError(
            f"{replica.uri}/{path.document}: holds {theirs.kind} {theirs.id} instead of {base.id}. Restore an earlier "
            "version of it."
        )
    with copy.importing() as database:
        refused = copy.merge_remote(database, base, theirs, RemoteSnapshot(path, etag, data))
    warn_of_conflicts(path, refused)


def _delete_parts(replica: Replica, path: UnitPath) -> None:
    for category in ("params", "metrics"):
        keys = [entry.key for entry in replica.objects.list(f"{path.home}/{category}/")]
        replica.map(replica.objects.delete, keys)


def _write_index(replica: Replica, path: UnitPath) -> tuple[str, str]:
    """Rewrite a unit's index, so that other machines see that it changed; return the index's key and ETag."""
    return path.index, replica.objects.write(path.index, uuid.uuid4().hex.encode(), match=None)


def _publish_params(replica: Replica, run: str, path: UnitPath) -> None:
    """Write the parameters that have no file in the bucket; an existing file keeps its value, also locally."""
    copy = replica.copy
    snapshot = copy.last_seen(RUNS, run)
    published = decode(snapshot.body, copy.schema, path.document).rows.get("params", {}) if snapshot else {}
    rows = copy.document(RUNS, run).rows.get("params", {})
    for key, row in rows.items():
        if key in published:
            continue
        file = path.part("params", row["key"])
        try:
            replica.objects.write(file, row["value"].encode(), match=ABSENT)
        except PreconditionError:
            theirs = replica.objects.read(file)[0].decode(errors="replace")
            with copy.importing() as database:
                sql = "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?"
                database.execute(sql, (theirs, run, row["key"]))
            warn_of_conflicts(path, [("params", (row["key"],))])


def claim_experiment(replica: Replica, head: dict[str, object], tags: dict[str, str], root: str) -> Document | None:
    """Create an experiment in the bucket, with a folder and an id of its own; return None if its name is taken.

    Args:
        replica: The replica of the tracking URI.
        head: The row of the experiment, without its id.
        tags: The tags of the experiment.
        root: The URI below which its artifacts are stored, unless ``head`` has an artifact location.

    Raises:
        PokeflowError: If other experiments occupy all folders for this name.

    """
    copy = replica.copy
    for attempt in range(1, ATTEMPTS):
        folder = experiment_folder(str(head["name"]), attempt)
        identity = "0" if folder == "Default" else experiment_id(folder)
        path = locate_unit(EXPERIMENTS, identity, folder)
        location = head["artifact_location"] or f"{root}/{folder}"
        row = {**head, "experiment_id": int(identity), "artifact_location": location}
        tag_rows = {
            (key, int(identity)): {"key": key, "value": tags[key], "experiment_id": int(identity)} for key in tags
        }
        document = Document(EXPERIMENTS, identity, {EXPERIMENTS: {(int(identity),): row}, "experiment_tags": tag_rows})
        data = encode(document, copy.schema)
        try:
            etag, is_taken = replica.objects.write(path.document, data, match=ABSENT), False
        except PreconditionError:
            data, etag = replica.objects.read(path.document)
            document, is_taken = decode(data, copy.schema, path.document), True
            if not document.alive or document.head["name"] != head["name"]:
                continue
        with copy.importing() as database:
            copy.merge_remote(database, Document(EXPERIMENTS, identity), document, RemoteSnapshot(path, etag, data))
            # Also if it is taken: its creator may have been killed before it wrote the index.
            copy.remember_indexes(database, dict([_write_index(replica, path)]))
        return None if is_taken else document
    raise PokeflowError(
        f"{replica.uri}: all folders for an experiment named {head['name']!r} are taken. Use another name."
    )
