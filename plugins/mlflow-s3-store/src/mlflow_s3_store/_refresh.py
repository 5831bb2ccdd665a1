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
    listed = {entry.key: entry.etag for entry in replica.objects.list(prefix)}
    seen = replica.copy.indexes(prefix)
    _notice_gone(replica, seen.keys() - listed.keys())
    changed = [key for key, etag in listed.items() if seen.get(key) != etag]
    for start in range(0, len(changed), AT_ONCE):
        keys = changed[start : start + AT_ONCE]
        began = replica.copy.etags([locate_index(key) for key in keys])
        indexes = replica.map(lambda key: _read(replica, locate_index(key)), keys)
        _absorb(replica, [one for one in indexes if one], {key: listed[key] for key in keys}, began)
    return len(changed)


def _notice_gone(replica: Replica, keys: Iterable[str]) -> None:
    """Handle units whose indexes were removed from the bucket by hand.

    A unit that was changed here, or whose document still exists, is published again. Others are deleted here too.
    """
    copy = replica.copy
    for key in keys:
        where = locate_index(key)
        identity = copy.id_at(where)
        if identity is not None:
            if where.kind == EXPERIMENTS:
                for kind in IN_EXPERIMENT:
                    refresh(replica, kind, where.home)
            if replica.objects.stat(where.document) or copy.is_changed(where.kind, identity):
                copy.forget(where.kind, identity)
            else:
                log.warning("%s/%s: was removed from the bucket, and so it is here", replica.uri, where.document)
                copy.drop(where.kind, identity)
        copy.forget_index(key)


def refresh_unit(replica: Replica, kind: str, identity: str) -> bool:
    """Import one unit if it changed in the bucket; return whether a change was found.

    For a unit that is unknown here, all changes in the bucket are imported.
    """
    known = replica.copy.last_seen(kind, identity)
    if known is None:
        return not replica.copy.document(kind, identity).alive and refresh_all(replica) > 0
    entry = replica.objects.stat(known.place.document)
    if entry is None or entry.etag == known.etag:
        return False
    snapshot = _read(replica, known.place)
    _absorb(replica, [snapshot] if snapshot else [], {}, {known.place: known.etag})
    return True


def refresh_all(replica: Replica) -> int:
    """Import all changed units, and return their number."""
    changed = refresh_rest(replica)
    for identity in replica.copy.experiments():
        home = replica.copy.last_seen(EXPERIMENTS, identity)
        if home:
            changed += sum(refresh(replica, kind, home.place.home) for kind in IN_EXPERIMENT)
    return changed


def histories(replica: Replica, run: str, metrics: Sequence[str] | None = None) -> None:
    """Import a run's histories of ``metrics`` (None: all) that have more points in the bucket than here."""
    known = replica.copy.last_seen(RUNS, run)
    if known is None:
        return
    published = decode(known.body, replica.copy.schema, known.place.document).histories
    have = replica.copy.histories(run)
    behind = [
        metric
        for metric, points in published.items()
        if (metrics is None or metric in metrics) and have.get(metric, ("", 0))[1] < points
    ]
    replica.map(lambda metric: pull_history(replica, run, metric, known.place), behind)


def _read(replica: Replica, where: UnitPath) -> tuple[Document, RemoteSnapshot] | None:
    try:
        data, etag = replica.objects.read(where.document)
    except NotFoundError:
        return None
    try:
        document = decode(data, replica.copy.schema, f"{replica.uri}/{where.document}")
        if (document.kind, document.id if where.kind == EXPERIMENTS else "") != (where.kind, _experiment_at(where)):
            raise PokeflowError(f"{replica.uri}/{where.document}: is of {document.kind} {document.id!r}.")
        if where.kind != EXPERIMENTS and locate_unit(document.kind, document.id, where.folder).name != where.name:
            raise PokeflowError(f"{replica.uri}/{where.document}: is of {document.kind} {document.id!r}.")
    except PokeflowError as error:
        log.warning("left out: %s", error)
        return None
    return document, RemoteSnapshot(where, etag, data)


def _experiment_at(where: UnitPath) -> str:
    """Return the id of the experiment in a folder; "" for other kinds of units."""
    if where.kind != EXPERIMENTS:
        return ""
    return "0" if where.home == "Default" else experiment_id(where.home)


def _absorb(
    replica: Replica,
    documents: Sequence[tuple[Document, RemoteSnapshot]],
    indexes: Mapping[str, str],
    began: Mapping[UnitPath, str],
) -> None:
    """Import documents, except of units published here since ``began``, which has the ETags from before the read."""
    copy, refused, read = replica.copy, [], dict(indexes)
    with copy.importing() as database:
        now = copy.etags([known.place for _, known in documents])
        newer = {known.place for _, known in documents if now.get(known.place) != began.get(known.place)}
        for where in newer:
            read.pop(where.index, None)
        taken = [(document, known) for document, known in documents if known.place not in newer]
        marked = {(d.kind, d.id) for d, _ in taken if copy.is_marked(database, d.kind, d.id)}
        release_names(database, [d for d, _ in taken if (d.kind, d.id) not in marked])
        for document, known in taken:
            database.execute("SAVEPOINT unit")
            try:
                base = _base(copy, document) if (document.kind, document.id) in marked else None
                refused.append((known.place, copy.merge_remote(database, base, document, known)))
            except (sqlite3.Error, OverflowError) as error:
                database.execute("ROLLBACK TO unit")
                log.warning("%s: cannot stand beside what is here (%s); it is left out", known.place.home, error)
            database.execute("RELEASE unit")
        copy.remember_indexes(database, read)
    for where, rows in refused:
        warn_of_conflicts(where, rows)


def _base(copy: WorkingCopy, document: Document) -> Document:
    """Return the last state that a unit changed here had in common with the bucket."""
    was = copy.last_seen(document.kind, document.id)
    return decode(was.body, copy.schema, was.place.document) if was else Document(document.kind, document.id)
