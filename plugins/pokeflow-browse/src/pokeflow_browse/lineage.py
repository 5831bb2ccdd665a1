"""Lineage of the published versions of models, and the relations between them, built from receipts alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokeflow.errors import ConfigError, PokeflowError, unknown
from pokeflow.plugins import WELL_KNOWN, document_kinds
from pokeflow.project import Project, Receipt, documents, version_sort_key
from pokeflow.project import versions as versions_of
from pokeflow.stages import BENCHMARK
from pokeflow.types import About

Columns = Mapping[str, tuple[str, str]]
"""Figures to draw: name of the metric → its short name and the format string of its value."""
DOCUMENT = "model_lineage"
"""Name of the document that describes the lineage by ``nodes`` and ``edges`` with their relations."""


@dataclass(frozen=True, slots=True)
class Node:
    """A version of a model.

    ``key`` is ``<model>:<version>``. ``published`` is False for a version that is only named as a parent.
    """

    key: str
    model: str
    version: str
    type: str = ""
    digest: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    published: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """Relation of a version to the one it was derived from; ``first`` marks the lineage parent."""

    parent: str
    child: str
    relation: str
    first: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Lineage as a graph without cycles: nodes, parents before children; edges; messages about omitted edges."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    faults: tuple[str, ...] = ()


def graph(about: About, receipts: Sequence[Receipt], columns: Columns) -> Graph:
    """Return the lineage of all published versions, as described by the document ``DOCUMENT``.

    Args:
        about: Description of the project.
        receipts: Receipts of the tree.
        columns: Figures to draw in each node.

    Raises:
        PokeflowError: The document kind is not installed.

    """
    kind = document_kinds().get(DOCUMENT)
    if kind is None:
        package = WELL_KNOWN["project"][DOCUMENT]
        raise PokeflowError(f"lineage: needs the document {DOCUMENT!r}. Install {package}, which provides it.")
    document, versions = documents.build(kind, Project(about, tuple(receipts))), versions_of(receipts)
    models = {node["id"]: node for node in document["nodes"] if node["kind"] == "model"}
    nodes = {name: _node(node, versions.get(name), columns) for name, node in models.items()}
    edges = [
        Edge(edge["parent"], edge["child"], _relation(edge, models[edge["child"]]), edge["primary"])
        for edge in document["edges"]
        if edge["parent"] in models
    ]
    return _sort(nodes, edges)


def _node(node: Mapping[str, Any], receipt: Receipt | None, columns: Columns) -> Node:
    first: dict[str, float] = {}
    for _, name, value, _ in figures(receipt) if receipt else ():
        if value is not None:
            first.setdefault(name, value)
    labels = tuple((short, shape.format(first[name])) for name, (short, shape) in columns.items() if name in first)
    model, version, type_, digest = (str(node[name] or "") for name in ("model", "version", "type", "digest"))
    return Node(node["id"], model, version, type_, digest, labels, published=node["published"])


def _relation(edge: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """Return the relation of a child to a parent, with the child's generation if it is the lineage parent."""
    generation = child["generation"] if edge["primary"] else None
    return (edge["relation"] or "unknown") + (f" (stage {generation})" if generation else "")


def neighbourhood(lineage: Graph, name: str) -> Graph:
    """Return the part of a lineage that consists of some versions, their ancestors and their descendants.

    Args:
        lineage: Lineage of all versions.
        name: A model, for all of its versions, or ``model:version``.

    Raises:
        ConfigError: No version has this name.

    """
    starts = {node.key for node in lineage.nodes.values() if name in (node.key, node.model)}
    if not starts:
        names = {*lineage.nodes, *(node.model for node in lineage.nodes.values())}
        raise ConfigError([unknown("lineage", "model or model:version", name, names)])
    above, below = defaultdict(list), defaultdict(list)
    for edge in lineage.edges:
        above[edge.child].append(edge.parent)
        below[edge.parent].append(edge.child)
    selected = _reach(starts, above) | _reach(starts, below)
    return Graph(
        {key: node for key, node in lineage.nodes.items() if key in selected},
        tuple(edge for edge in lineage.edges if edge.parent in selected and edge.child in selected),
        lineage.faults,
    )


def _reach(start: Iterable[str], neighbours: Mapping[str, list[str]]) -> set[str]:
    reached, pending = set(start), list(start)
    while pending:
        for key in neighbours.get(pending.pop(), ()):
            if key not in reached:
                reached.add(key)
                pending.append(key)
    return reached


def figures(receipt: Receipt) -> Iterator[tuple[str, str, float | None, str]]:
    """Yield every figure of a version, benchmarks first: task, name, value, and the reason if the value is None."""
    for record in sorted(receipt.records, key=lambda record: record.stage != BENCHMARK):
        for name, value in record.metrics.items():
            reason = "" if value is not None else record.reasons.get(name, "no reason recorded")
            yield record.task, name, value, reason


def _sort(nodes: Mapping[str, Node], edges: Iterable[Edge]) -> Graph:
    """Return the graph with parents before children.

    Edges that close a cycle, which only damaged receipts can contain, are omitted and listed in ``faults``.
    """
    from graphlib import CycleError, TopologicalSorter

    rank = {
        name: position
        for position, name in enumerate(sorted(nodes, key=lambda n: (nodes[n].model, version_sort_key(n))))
    }
    edge_of, faults = {(edge.child, edge.parent): edge for edge in edges}, []
    while True:
        parents: dict[str, list[str]] = {name: [] for name in rank}
        for child, parent in edge_of:
            parents[child].append(parent)
        sorter = TopologicalSorter(parents)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = list(zip(error.args[1][1:], error.args[1], strict=False))  # (child, parent) pairs of the cycle
            cut = min(cycle, key=lambda pair: rank[pair[0]])
            faults.append(f"{cut[0]} descends from itself through {cut[1]}. This edge is left out.")
            del edge_of[cut]
        else:
            break
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        order += ready
        sorter.done(*ready)
    sorted_edges = (edge_of[child, parent] for child in order for parent in parents[child])
    return Graph({name: nodes[name] for name in order}, tuple(sorted_edges), tuple(faults))
