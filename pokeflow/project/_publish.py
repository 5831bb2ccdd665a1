"""Publishing: what records name is put into the tree, the receipt when all of it is there, the manifest last."""

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
from pokeflow.store import Claim, Store, exclusively, held, tracked
from pokeflow.store import of as open_store
from pokeflow.types import Record

log = logging.getLogger("pokeflow")


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication found and did: how each file stood, the leaves that nothing fills, the documents written."""

    comparisons: tuple[Comparison, ...]
    gaps: tuple[Gap, ...]
    documents: tuple[str, ...] = ()


def difference(flow: Flow, records: Mapping[str, Record]) -> Published:
    """What publishing would do; nothing is written. ConfigError where a published version would change."""
    publications, gaps = collect(flow, records, open_store(flow))
    comparisons = tuple(compare(trees.of(flow).objects, publications))
    if refused := [fault for comparison in comparisons for fault in comparison.refused]:
        raise ConfigError(Fault("publish", text) for text in refused)
    return Published(comparisons, tuple(gaps))


def publish(flow: Flow, records: Mapping[str, Record]) -> Published:
    """Put into the tree what is not there yet; ``records`` are those of the finished tasks, by name.

    A kill at any moment leaves a tree whose metadata speaks only of what is there; the next call completes it.
    """
    found = difference(flow, records)
    tree, store = trees.of(flow), open_store(flow)
    waiting = [c.publication for c in found.comparisons if c.to_send or not c.complete]
    for record in records.values():
        store.share(record)  # links lead to tasks: whoever follows one must find what it names
    with _alone(store, waiting) as claims:
        # Whoever published the same at the same time is done by now.
        for comparison in compare(tree.objects, waiting):
            if comparison.refused:
                raise ConfigError(Fault("publish", text) for text in comparison.refused)
            _send(tree, comparison)
            for claim in claims:
                claim.require()
            receipts.put(tree.objects, comparison.publication.receipt)
    return Published(found.comparisons, found.gaps, write_documents(tree, runs(flow, store)))


def _send(tree: Tree, comparison: Comparison) -> None:
    def one(change: Change, advance: object) -> None:
        placed, source, match = change.item.placed, change.item.source, change.etag or ABSENT
        if isinstance(source, Path):
            tree.objects.upload(source, placed.path, sha256=placed.sha256, match=match, advance=advance)  # type: ignore[arg-type]
        elif isinstance(source, bytes):
            tree.objects.write(placed.path, source, match=match)
        else:
            tree.objects.copy(tree.store, source, placed.path, match=match, advance=advance)  # type: ignore[arg-type]

    changes = comparison.to_send
    total = sum(change.item.placed.size for change in changes)
    each(one, changes, label=f"publishing {comparison.publication.receipt.unit}", total=total)


@contextmanager
def _alone(store: Store, publications: Sequence[Publication]) -> Iterator[list[Claim]]:
    """Publish these models alone: of two who publish the same one, the second sees what the first has published."""
    claims = []
    with ExitStack() as stack:
        # All versions of a model share what lies under none.
        for unit in sorted({p.receipt.unit.rpartition("/")[0] or p.receipt.unit for p in publications}):
            name = f"publish-{unit.replace('/', '-')}"
            stack.enter_context(exclusively(store.root / "locks" / f"{name}.lock", f"publish {unit}"))
            if store.remote is not None:
                claims.append(stack.enter_context(held(store.remote, f"claims/{name}", f"publish {unit}")))
        yield claims


def write_documents(tree: Tree, runs: Iterable[Run] = ()) -> tuple[str, ...]:
    """Bring the project's metadata up to date with its receipts and with these runs; the names of what was written."""
    return documents.write(tree, runs)


def runs(flow: Flow, store: Store) -> list[Run]:
    """Every run that made a model, as this machine knows it, and what tracking said of it."""
    every = (run for run in store.every_run() if run[0].makes_model)
    return [Run(record, tracked(folder).get(record.started)) for record, folder in every]
