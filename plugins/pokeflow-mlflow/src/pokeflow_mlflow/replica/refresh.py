"""What was changed in the bucket comes here: one listing tells which units, and only these are read."""

import logging
import sqlite3
from collections.abc import Sequence

from pokeflow.errors import PokeflowError
from pokeflow.objects import Missing
from pokeflow_mlflow.replica.document import Document, decode
from pokeflow_mlflow.replica.histories import pull_history
from pokeflow_mlflow.replica.layout import IN_EXPERIMENT, Place, index_of, place, place_of_index
from pokeflow_mlflow.replica.publish import tell_refused
from pokeflow_mlflow.replica.replica import Replica
from pokeflow_mlflow.replica.schema import EXPERIMENTS, RUNS
from pokeflow_mlflow.replica.working_copy import Known

log = logging.getLogger("pokeflow_mlflow")
AT_ONCE = 256
"""Documents that are read before they are taken over, in one transaction."""


def refresh(replica: Replica, kind: str, folder: str = "") -> int:
    """Take over the units of a kind that changed, for those of an experiment in its folder; returns how many did."""
    return _refresh(replica, index_of(kind, folder))


def refresh_rest(replica: Replica) -> int:
    """Take over everything that belongs to no experiment."""
    return _refresh(replica, index_of("").rstrip("/") + "/")


def _refresh(replica: Replica, prefix: str) -> int:
    listed = {entry.key: entry.etag for entry in replica.objects.list(prefix)}
    seen = replica.copy.seen(prefix)
    changed = [key for key, etag in listed.items() if seen.get(key) != etag]
    for start in range(0, len(changed), AT_ONCE):
        keys = changed[start : start + AT_ONCE]
        found = replica.spread(lambda key: _read(replica, place_of_index(key)), keys)
        _absorb(replica, [one for one in found if one], {key: listed[key] for key in keys})
    return len(changed)


def refresh_unit(replica: Replica, kind: str, identity: str) -> bool:
    """Take over one unit if it changed in the bucket; one that nobody here has heard of is looked for everywhere."""
    known = replica.copy.known(kind, identity)
    if known is None:
        return not replica.copy.document(kind, identity).alive and refresh_all(replica) > 0
    entry = replica.objects.stat(known.place.document)
    if entry is None or entry.etag == known.etag:
        return False
    found = _read(replica, known.place)
    _absorb(replica, [found] if found else [], {})
    return True


def refresh_all(replica: Replica) -> int:
    """Take over everything that changed anywhere."""
    changed = refresh_rest(replica)
    for identity in replica.copy.experiments():
        home = replica.copy.known(EXPERIMENTS, identity)
        if home:
            changed += sum(refresh(replica, kind, home.place.home) for kind in IN_EXPERIMENT)
    return changed


def histories(replica: Replica, run: str, metrics: Sequence[str] | None = None) -> None:
    """Take over the histories of a run (None: of all its metrics) that have more points in the bucket than here."""
    known = replica.copy.known(RUNS, run)
    if known is None:
        return
    told = decode(known.body, replica.copy.schema, known.place.document).histories
    have = replica.copy.histories(run)
    behind = [
        metric
        for metric, points in told.items()
        if (metrics is None or metric in metrics) and have.get(metric, ("", 0))[1] < points
    ]
    replica.spread(lambda metric: pull_history(replica, run, metric, known.place), behind)


def _read(replica: Replica, where: Place) -> tuple[Document, Known] | None:
    try:
        data, etag = replica.objects.read(where.document)
    except Missing:
        return None
    try:
        document = decode(data, replica.copy.schema, f"{replica.uri}/{where.document}")
        own = place(document.kind, document.id, where.folder)
        if document.kind != where.kind or (where.kind != EXPERIMENTS and own.name != where.name):
            raise PokeflowError(f"{replica.uri}/{where.document}: is of {document.kind} {document.id!r}.")
    except PokeflowError as error:
        log.warning("left out: %s", error)
        return None
    return document, Known(where, etag, data)


def _absorb(replica: Replica, found: Sequence[tuple[Document, Known]], indexes: dict[str, str]) -> None:
    copy = replica.copy
    refused = []
    with copy.importing() as database:
        for document, known in found:
            # What is the same here as in the bucket has nothing of its own to keep.
            marked = copy.is_marked(database, document.kind, document.id)
            was = copy.known(document.kind, document.id) if marked else None
            base = (
                decode(was.body, copy.schema, was.place.document)
                if was
                else Document(document.kind, document.id)
                if marked
                else copy.document(document.kind, document.id, database)
            )
            database.execute("SAVEPOINT unit")
            try:
                refused.append((known.place, copy.absorb(database, base, document, known)))
            except sqlite3.IntegrityError as error:
                database.execute("ROLLBACK TO unit")
                log.warning("%s: cannot stand beside what is here (%s); it is left out", known.place.home, error)
            database.execute("RELEASE unit")
        copy.see(database, indexes)
    for where, rows in refused:
        tell_refused(where, rows)
