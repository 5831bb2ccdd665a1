"""Refreshing of the working copy: one listing of the bucket shows which units changed, and only these are read."""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from mlflow_s3_store._conflicts import warn_of_conflicts
from mlflow_s3_store._document import Document, decode
from mlflow_s3_store._histories import pull_history
from mlflow_s3_store._layout import IN_EXPERIMENT, UnitPath, experiment_id, index_of, locate_index, locate_unit
from mlflow_s3_store._replica import Replica
from mlflow_s3_store._rows import release_names
from mlflow_s3_store._schema import EXPERIMENTS, RUNS
from mlflow_s3_store._working_copy import RemoteSnapshot, WorkingCopy
from pokeflow.errors import PokeflowError
from pokeflow.objects import NotFoundError

log = logging.getLogger(__package__)
AT_ONCE = 256
"""Number of documents that are read before they are imported in one transaction."""


def refresh(replica: Replica, kind: str, folder: str = "") -> int:
    """Import the changed units of a kind, or of a kind in an experiment's folder, and return their number."""
    return _refresh(replica, index_of(kind, folder))


def refresh_rest(replica: Replica) -> int:
    """Import the changed units that belong to no experiment, and return their number."""
    return _refresh(replica, index_of("").rstrip("/") + "/")


def _refresh(replica: Replica, prefix: str) -> int:
    listed_etags = {entry.key: entry.etag for entry in replica.objects.list(prefix)}
    known_etags = replica.copy.indexes(prefix)
    _handle_removed(replica, known_etags.keys() - listed_etags.keys())
    changed = [key for key, etag in listed_etags.items() if known_etags.get(key) != etag]
    for start in range(0, len(changed), AT_ONCE):
        keys = changed[start : start + AT_ONCE]
        etags_before = replica.copy.etags([locate_index(key) for key in keys])
        results = replica.map(lambda key: _read(replica, locate_index(key)), keys)
        _import(
            replica, [result for result in results if result], {key: listed_etags[key] for key in keys}, etags_before
        )
    return len(changed)


def _handle_removed(replica: Replica, keys: Iterable[str]) -> None:
    """Handle units whose indexes were removed from the bucket by hand.

    A unit that was changed here, or whose document still exists, is published again. Others are deleted here too.
    """
    copy = replica.copy
    for key in keys:
        path = locate_index(key)
        identity = copy.id_at(path)
        if identity is not None:
            if path.kind == EXPERIMENTS:
                for kind in IN_EXPERIMENT:
                    refresh(replica, kind, path.home)
            if replica.objects.stat(path.document) or copy.is_changed(path.kind, identity):
                copy.forget(path.kind, identity)
            else:
                log.warning(
                    "%s/%s: was removed from the bucket and is removed from the working copy",
                    replica.uri,
                    path.document,
                )
                copy.drop(path.kind, identity)
        copy.forget_index(key)


def refresh_unit(replica: Replica, kind: str, identity: str) -> bool:
    """Import one unit if it changed in the bucket; return whether a change was found.

    For a unit that is unknown here, all changes in the bucket are imported.
    """
    snapshot = replica.copy.last_seen(kind, identity)
    if snapshot is None:
        return not replica.copy.document(kind, identity).alive and refresh_all(replica) > 0
    entry = replica.objects.stat(snapshot.path.document)
    if entry is None or entry.etag == snapshot.etag:
        return False
    result = _read(replica, snapshot.path)
    _import(replica, [result] if result else [], {}, {snapshot.path: snapshot.etag})
    return True


def refresh_all(replica: Replica) -> int:
    """Import all changed units, and return their number."""
    changes = refresh_rest(replica)
    for identity in replica.copy.experiments():
        home = replica.copy.last_seen(EXPERIMENTS, identity)
        if home:
            changes += sum(refresh(replica, kind, home.path.home) for kind in IN_EXPERIMENT)
    return changes


def histories(replica: Replica, run: str, metrics: Sequence[str] | None = None) -> None:
    """Import a run's histories of ``metrics`` (None: all) that have more points in the bucket than here."""
    snapshot = replica.copy.last_seen(RUNS, run)
    if snapshot is None:
        return
    remote_points = decode(snapshot.body, replica.copy.schema, snapshot.path.document).histories
    local_histories = replica.copy.histories(run)
    behind = [
        metric
        for metric, points in remote_points.items()
        if (metrics is None or metric in metrics) and local_histories.get(metric, ("", 0))[1] < points
    ]
    replica.map(lambda metric: pull_history(replica, run, metric, snapshot.path), behind)


def _read(replica: Replica, path: UnitPath) -> tuple[Document, RemoteSnapshot] | None:
    try:
        data, etag = replica.objects.read(path.document)
    except NotFoundError:
        return None
    try:
        document = decode(data, replica.copy.schema, f"{replica.uri}/{path.document}")
        if (document.kind, document.id if path.kind == EXPERIMENTS else "") != (path.kind, _experiment_at(path)):
            raise PokeflowError(
                f"{replica.uri}/{path.document}: holds {document.kind} {document.id!r}, which has another path. Move "
                "it back."
            )
        if path.kind != EXPERIMENTS and locate_unit(document.kind, document.id, path.folder).name != path.name:
            raise PokeflowError(
                f"{replica.uri}/{path.document}: holds {document.kind} {document.id!r}, which has another path. Move "
                "it back."
            )
    except PokeflowError as error:
        log.warning("skipped: %s", error)
        return None
    return document, RemoteSnapshot(path, etag, data)


def _experiment_at(path: UnitPath) -> str:
    """Return the id of the experiment in a folder; "" for other kinds of units."""
    if path.kind != EXPERIMENTS:
        return ""
    return "0" if path.home == "Default" else experiment_id(path.home)


def _import(
    replica: Replica,
    documents: Sequence[tuple[Document, RemoteSnapshot]],
    indexes: Mapping[str, str],
    etags_before: Mapping[UnitPath, str],
) -> None:
    """Import documents, except of units published here since the ETags ``etags_before`` were read."""
    copy, conflicts, new_indexes = replica.copy, [], dict(indexes)
    with copy.importing() as database:
        now = copy.etags([snapshot.path for _, snapshot in documents])
        newer = {
            snapshot.path for _, snapshot in documents if now.get(snapshot.path) != etags_before.get(snapshot.path)
        }
        for path in newer:
            new_indexes.pop(path.index, None)
        imports = [(document, snapshot) for document, snapshot in documents if snapshot.path not in newer]
        marked = {(d.kind, d.id) for d, _ in imports if copy.is_marked(database, d.kind, d.id)}
        release_names(database, [d for d, _ in imports if (d.kind, d.id) not in marked])
        for document, snapshot in imports:
            database.execute("SAVEPOINT unit")
            try:
                base = _common_base(copy, document) if (document.kind, document.id) in marked else None
                conflicts.append((snapshot.path, copy.merge_remote(database, base, document, snapshot)))
            except (sqlite3.Error, OverflowError) as error:
                database.execute("ROLLBACK TO unit")
                log.warning("%s: conflicts with the working copy (%s); skipped", snapshot.path.home, error)
            database.execute("RELEASE unit")
        copy.remember_indexes(database, new_indexes)
    for path, rows in conflicts:
        warn_of_conflicts(path, rows)


def _common_base(copy: WorkingCopy, document: Document) -> Document:
    """Return the last state that a unit changed here had in common with the bucket."""
    snapshot = copy.last_seen(document.kind, document.id)
    return (
        decode(snapshot.body, copy.schema, snapshot.path.document) if snapshot else Document(document.kind, document.id)
    )
