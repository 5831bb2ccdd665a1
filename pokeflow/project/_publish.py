"""Publishing: uploads the files of records to the tree, then their receipt, then the documents of the project."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow
from pokeflow.objects import ABSENT, each
from pokeflow.project import documents, receipts
from pokeflow.project import tree as trees
from pokeflow.project._artifacts import Gap, Publication, collect
from pokeflow.project._diff import Change, Comparison, compare
from pokeflow.project._kinds import Run
from pokeflow.project.tree import Tree
from pokeflow.store import Lease, Store, file_lock, hold_lease, tracking_answers
from pokeflow.store import open_for_flow as open_store
from pokeflow.types import Record

log = logging.getLogger("pokeflow")


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Result of publishing: the state of each file, the leaves without content, and the documents written."""

    comparisons: tuple[Comparison, ...]
    gaps: tuple[Gap, ...]
    documents: tuple[str, ...] = ()


def difference(flow: Flow, records: Mapping[str, Record]) -> PublishResult:
    """Return what publishing would do, without writing; raise a ConfigError if a published version would change."""
    publications, gaps = collect(flow, records, open_store(flow))
    comparisons = tuple(compare(trees.open_tree(flow).objects, publications))
    if reasons := [fault for comparison in comparisons for fault in comparison.refused]:
        raise ConfigError(Fault("publish", text) for text in reasons)
    return PublishResult(comparisons, tuple(gaps))


def publish(flow: Flow, records: Mapping[str, Record]) -> PublishResult:
    """Publish all files that the tree does not have yet; ``records`` are those of the finished tasks, by name.

    After a kill at any moment, the metadata of the tree describes existing files only; the next call completes it.
    """
    result = difference(flow, records)
    tree, store = trees.open_tree(flow), open_store(flow)
    pending = [c.publication for c in result.comparisons if c.to_send or not c.complete]
    for record in records.values():
        store.upload(record)  # links refer to tasks, so the bucket must have every linked task
    with _publish_locks(store, pending) as leases:
        # Compare again: a concurrent publication of the same models has ended by now.
        for comparison in compare(tree.objects, pending):
            if comparison.refused:
                raise ConfigError(Fault("publish", text) for text in comparison.refused)
            _send(tree, comparison)
            for lease in leases:
                lease.require_held()
            receipts.put(tree.objects, comparison.publication.receipt)
    return PublishResult(result.comparisons, result.gaps, write_documents(tree, runs(flow, store)))


def _send(tree: Tree, comparison: Comparison) -> None:
    def send(change: Change, advance: object) -> None:
        file, source, match = change.item.published, change.item.source, change.etag or ABSENT
        if isinstance(source, Path):
            tree.objects.upload(source, file.path, sha256=file.sha256, match=match, advance=advance)  # type: ignore[arg-type]
        elif isinstance(source, bytes):
            tree.objects.write(file.path, source, match=match)
        else:
            tree.objects.copy(tree.store, source, file.path, match=match, advance=advance)  # type: ignore[arg-type]

    changes = comparison.to_send
    total = sum(change.item.published.size for change in changes)
    each(send, changes, label=f"publishing {comparison.publication.receipt.unit}", total=total)


@contextmanager
def _publish_locks(store: Store, publications: Sequence[Publication]) -> Iterator[list[Lease]]:
    """Hold exclusive locks for publishing these models, so that a second publisher sees the files of the first."""
    leases = []
    with ExitStack() as stack:
        # One lock per model: all of its versions share the paths that contain no version.
        for unit in sorted({p.receipt.unit.rpartition("/")[0] or p.receipt.unit for p in publications}):
            name = f"publish-{unit.replace('/', '-')}"
            stack.enter_context(file_lock(store.root / "locks" / f"{name}.lock", f"publish {unit}"))
            if store.remote is not None:
                leases.append(stack.enter_context(hold_lease(store.remote, f"leases/{name}", f"publish {unit}")))
        yield leases


def write_documents(tree: Tree, runs: Iterable[Run] = ()) -> tuple[str, ...]:
    """Update the project's metadata from its receipts and these runs, and return the paths of changed documents."""
    return documents.write(tree, runs)


def runs(flow: Flow, store: Store) -> list[Run]:
    """Return every run known to this machine that produced a model, with the tracking service's answer."""
    records = (run for run in store.all_records() if run[0].makes_model)
    return [Run(record, tracking_answers(folder).get(record.started)) for record, folder in records]
