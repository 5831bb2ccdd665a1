"""Drawings of the lineage: with characters, for a terminal, and as Mermaid text, for a page."""

from collections import defaultdict
from collections.abc import Iterator

from pokeflow.text import strip_control_characters
from pokeflow_browse.lineage import Edge, Graph, Node

_MERMAID = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


def lines(node: Node) -> tuple[str, ...]:
    """Return the text lines that describe a version: name and type, digest, figures."""
    title = f"{node.model} {node.version}".rstrip() + (f" · {node.type}" if node.type else "")
    labels = [title, node.digest or ("no digest recorded" if node.published else "not published")]
    labels += ["  ".join(f"{name} {value}" for name, value in node.figures)] if node.figures else []
    return tuple(strip_control_characters(line) for line in labels)


def draw(graph: Graph) -> str:
    """Draw boxes below one another, each below its lineage parent; other parents are named in the box."""
    children, others = _sorted_edges(graph)
    first = {edge.child for edges in children.values() for edge in edges}
    drawn: list[str] = []
    for root in (key for key in graph.nodes if key not in first):
        drawn += [""] if drawn else []
        drawn += _family(graph, root, children, others)
    return "\n".join(drawn)


def _sorted_edges(graph: Graph) -> tuple[dict[str, list[Edge]], dict[str, list[Edge]]]:
    """Group the edges from lineage parents by parent, and all other edges by child."""
    children, others = defaultdict(list), defaultdict(list)
    for edge in graph.edges:
        if edge.first:
            children[edge.parent].append(edge)
        else:
            others[edge.child].append(edge)
    return children, others


def _family(graph: Graph, root: str, children: dict[str, list[Edge]], others: dict[str, list[Edge]]) -> Iterator[str]:
    # A stack instead of recursion: a chain of versions may be longer than Python's recursion limit.
    waiting: list[tuple[str, str] | str] = [(root, "")]
    while waiting:
        job = waiting.pop()
        if isinstance(job, str):
            yield job.rstrip()
            continue
        key, indent = job
        below = children.get(key, [])
        box = [*lines(graph.nodes[key]), *(f"also {_with(graph, edge)}" for edge in others.get(key, ()))]
        yield from (indent + line for line in _box(box, open_below=bool(below)))
        for position, edge in reversed(list(enumerate(below))):
            alone, last = len(below) == 1, position == len(below) - 1
            inner = indent if alone else indent + ("     " if last else "  │  ")
            waiting.append((edge.child, inner))
            waiting.append(f"{inner}  ▼" if alone else f"{inner}▼")
            waiting.append(
                f"{indent}  {'│' if alone else '└─' if last else '├─'} {strip_control_characters(edge.relation)}"
            )


def _with(graph: Graph, edge: Edge) -> str:
    parent = graph.nodes[edge.parent]
    return strip_control_characters(
        f"from {parent.model} {parent.version}".rstrip() + (f" ({edge.relation})" if edge.relation else "")
    )


def _box(labels: list[str], *, open_below: bool) -> Iterator[str]:
    from rich.cells import cell_len

    width = max(map(cell_len, labels)) + 2
    yield f"╭{'─' * width}╮"
    for line in labels:
        yield f"│ {line}{' ' * (width - 2 - cell_len(line))} │"
    yield f"╰─┬{'─' * (width - 2)}╯" if open_below else f"╰{'─' * width}╯"


def mermaid(graph: Graph) -> str:
    """Draw a top-down Mermaid flowchart, with solid lines for lineage parents and dotted ones for other parents."""
    ids = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    rows = ["flowchart TD"]
    for key, node in graph.nodes.items():
        label = "<br/>".join(line.translate(_MERMAID) for line in lines(node))
        rows.append(f'    {ids[key]}["{label}"]')
    for edge in graph.edges:
        arrow = "-->" if edge.first else "-.->"
        label = f'|"{strip_control_characters(edge.relation).translate(_MERMAID)}"|' if edge.relation else ""
        rows.append(f"    {ids[edge.parent]} {arrow}{label} {ids[edge.child]}")
    return "\n".join(rows)
