"""The lineage as it is published: versions of models, and what made one from another, from receipts alone."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokeflow.errors import ConfigError, unknown
from pokeflow.project._receipts import Receipt, natural
from pokeflow.project.metadata import _lineage as lineage
from pokeflow.project.metadata import _published as published
from pokeflow.stages import BENCHMARK
from pokeflow.types import About

Columns = Mapping[str, tuple[str, str]]
"""Figures worth drawing: the metric's name → its short name and how its value is written."""


@dataclass(frozen=True, slots=True)
class Node:
    """A version of a model, ``key`` is ``<model>:<version>``; one that is only named as a parent is not published."""

    key: str
    model: str
    version: str
    type: str = ""
    digest: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    published: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """That one version was made from another, and how; ``first``: it is the parent in the lineage."""

    parent: str
    child: str
    relation: str
    first: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, parents before children; edges, none of which leads back; what had to be left out, in sentences."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    faults: tuple[str, ...] = ()


def graph(about: About, known: Sequence[Receipt], columns: Columns) -> Graph:
    """The lineage of all published versions, as ``model_lineage.json`` tells it."""
    told, versions = lineage.document(about, known), published.versions(known)
    models = {node["id"]: node for node in told["nodes"] if node["kind"] == "model"}
    nodes = {name: _node(node, versions.get(name), columns) for name, node in models.items()}
    edges = [
        Edge(edge["parent"], edge["child"], _relation(edge, models[edge["child"]]), edge["primary"])
        for edge in told["edges"]
        if edge["parent"] in models
    ]
    return _ordered(nodes, edges)


def _node(node: Mapping[str, Any], receipt: Receipt | None, columns: Columns) -> Node:
    first: dict[str, float] = {}
    for _, name, value, _ in figures(receipt) if receipt else ():
        if value is not None:
            first.setdefault(name, value)
    drawn = tuple((short, shape.format(first[name])) for name, (short, shape) in columns.items() if name in first)
    model, version, type_, digest = (str(node[name] or "") for name in ("model", "version", "type", "digest"))
    return Node(node["id"], model, version, type_, digest, drawn, published=node["published"])


def _relation(edge: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """How a child was made from a parent; a student's own parent with the stage of distillation that this was."""
    generation = child["generation"] if edge["primary"] else None
    return (edge["relation"] or "unknown") + (f" (stage {generation})" if generation else "")


def around(whole: Graph, name: str) -> Graph:
    """A model, all its versions or one (``model:version``), with ancestors and descendants; ConfigError if unknown."""
    chosen = {node.key for node in whole.nodes.values() if name in (node.key, node.model)}
    if not chosen:
        names = {*whole.nodes, *(node.model for node in whole.nodes.values())}
        raise ConfigError([unknown("lineage", "model or model:version", name, names)])
    above, below = defaultdict(list), defaultdict(list)
    for edge in whole.edges:
        above[edge.child].append(edge.parent)
        below[edge.parent].append(edge.child)
    kept = _reached(chosen, above) | _reached(chosen, below)
    return Graph(
        {key: node for key, node in whole.nodes.items() if key in kept},
        tuple(edge for edge in whole.edges if edge.parent in kept and edge.child in kept),
        whole.faults,
    )


def _reached(start: Iterable[str], ways: Mapping[str, list[str]]) -> set[str]:
    found, waiting = set(start), list(start)
    while waiting:
        for key in ways.get(waiting.pop(), ()):
            if key not in found:
                found.add(key)
                waiting.append(key)
    return found


def figures(receipt: Receipt) -> Iterator[tuple[str, str, float | None, str]]:
    """Every figure of a version: task, name, value (None: unknown) and the reason where it is; benchmarks first."""
    for record in sorted(receipt.records, key=lambda record: record.stage != BENCHMARK):
        for name, value in record.metrics.items():
            reason = "" if value is not None else record.reasons.get(name, "no reason recorded")
            yield record.task, name, value, reason


def _ordered(nodes: Mapping[str, Node], edges: Iterable[Edge]) -> Graph:
    """Parents before children. An edge that closes a circle, which only damage brings, is left out and told."""
    below, above = defaultdict(list), defaultdict(list)
    for edge in edges:
        below[edge.parent].append(edge)
        above[edge.child].append(edge)
    ordered = sorted(nodes, key=lambda n: (nodes[n].model, natural(n)))
    rank = {name: place for place, name in enumerate(ordered)}
    left = {name: len(above[name]) for name in nodes}
    ready = [(rank[name], name) for name, count in left.items() if not count]
    heapq.heapify(ready)
    done: dict[str, Node] = {}
    faults = []
    while len(done) < len(nodes):
        if not ready:
            cut = _closing(min((name for name in nodes if name not in done), key=rank.__getitem__), above, done)
            faults.append(f"{cut.child} descends from itself by way of {cut.parent}: that edge is left out.")
            above[cut.child].remove(cut)
            below[cut.parent].remove(cut)
            free = [cut.child]
        else:
            _, name = heapq.heappop(ready)
            done[name] = nodes[name]
            free = [edge.child for edge in below[name]]
        for child in free:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, (rank[child], child))
    return Graph(done, tuple(edge for name in done for edge in above[name]), tuple(faults))


def _closing(name: str, above: Mapping[str, list[Edge]], done: Mapping[str, Node]) -> Edge:
    """An edge of the circle that a node hangs on: up from parent to parent, one comes again."""
    seen: dict[str, Edge] = {}
    while name not in seen:
        seen[name] = next(edge for edge in above[name] if edge.parent not in done)
        name = seen[name].parent
    return seen[name]
