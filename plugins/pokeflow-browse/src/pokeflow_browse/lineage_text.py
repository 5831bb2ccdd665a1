"""Drawings of the lineage: with characters, for a terminal, and as Mermaid text, for a page."""

from collections import defaultdict
from collections.abc import Iterator

from pokeflow.text import strip_control_characters
from pokeflow_browse.lineage import Edge, Graph, Node

_MERMAID = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


def lines(node: Node) -> tuple[str, ...]:
    """Return the text lines that describe a version: name and type, digest, figures."""
    title = f"{node.model} {node.version}".rstrip() + (f" · {node.type}" if node.type else "")
    text_lines = [title, node.digest or ("no digest recorded" if node.published else "not published")]
    text_lines += ["  ".join(f"{name} {value}" for name, value in node.figures)] if node.figures else []
    return tuple(strip_control_characters(line) for line in text_lines)


def draw(graph: Graph) -> str:
    """Draw boxes below one another, each below its lineage parent; other parents are named in the box."""
    children, other_parents = _sorted_edges(graph)
    first = {edge.child for edges in children.values() for edge in edges}
    drawing: list[str] = []
    for root in (key for key in graph.nodes if key not in first):
        drawing += [""] if drawing else []
        drawing += _family(graph, root, children, other_parents)
    return "\n".join(drawing)


def _sorted_edges(graph: Graph) -> tuple[dict[str, list[Edge]], dict[str, list[Edge]]]:
    """Group the edges from lineage parents by parent, and all other edges by child."""
    children, other_parents = defaultdict(list), defaultdict(list)
    for edge in graph.edges:
        if edge.first:
            children[edge.parent].append(edge)
        else:
            other_parents[edge.child].append(edge)
    return children, other_parents


def _family(
    graph: Graph, root: str, children: dict[str, list[Edge]], other_parents: dict[str, list[Edge]]
) -> Iterator[str]:
    # A stack instead of recursion: a chain of versions may be longer than Python's recursion limit.
    pending: list[tuple[str, str] | str] = [(root, "")]
    while pending:
        job = pending.pop()
        if isinstance(job, str):
            yield job.rstrip()
            continue
        key, indent = job
        below = children.get(key, [])
        box_lines = [*lines(graph.nodes[key]), *(f"also {_with(graph, edge)}" for edge in other_parents.get(key, ()))]
        yield from (indent + line for line in _box(box_lines, open_below=bool(below)))
        for position, edge in reversed(list(enumerate(below))):
            alone, last = len(below) == 1, position == len(below) - 1
            inner = indent if alone else indent + ("     " if last else "  │  ")
            pending.append((edge.child, inner))
            pending.append(f"{inner}  ▼" if alone else f"{inner}▼")
            pending.append(
                f"{indent}  {'│' if alone else '└─' if last else '├─'} {strip_control_characters(edge.relation)}"
            )


def _with(graph: Graph, edge: Edge) -> str:
    parent = graph.nodes[edge.parent]
    return strip_control_characters(
        f"from {parent.model} {parent.version}".rstrip() + (f" ({edge.relation})" if edge.relation else "")
    )


def _box(box_lines: list[str], *, open_below: bool) -> Iterator[str]:
    from rich.cells import cell_len

    width = max(map(cell_len, box_lines)) + 2
    yield f"╭{'─' * width}╮"
    for line in box_lines:
        yield f"│ {line}{' ' * (width - 2 - cell_len(line))} │"
    yield f"╰─┬{'─' * (width - 2)}╯" if open_below else f"╰{'─' * width}╯"


def mermaid(graph: Graph) -> str:
    """Draw a top-down Mermaid flowchart, with solid lines for lineage parents and dotted ones for other parents."""
    ids = {key: f"n{position}" for position, key in enumerate(graph.nodes)}
    text_lines = ["flowchart TD"]
    for key, node in graph.nodes.items():
        label = "<br/>".join(line.translate(_MERMAID) for line in lines(node))
        text_lines.append(f'    {ids[key]}["{label}"]')
    for edge in graph.edges:
        arrow = "-->" if edge.first else "-.->"
        label = f'|"{strip_control_characters(edge.relation).translate(_MERMAID)}"|' if edge.relation else ""
        text_lines.append(f"    {ids[edge.parent]} {arrow}{label} {ids[edge.child]}")
    return "\n".join(text_lines)
