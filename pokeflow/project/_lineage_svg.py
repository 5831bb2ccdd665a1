"""The lineage as a picture: an SVG that needs nothing else, in layers from parents to children."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from pokeflow.project import _lineage_text as lineage_text
from pokeflow.project._lineage import Edge, Graph
from pokeflow.text import plain

LINE, PAD, GAP, MARGIN = 18.0, 12.0, 36.0, 24.0
"""Pixels: a line of text, space inside a box, between boxes, around all."""
RISE, LABEL = 46.0, 20.0
"""Pixels between layers: these, and one label's for as many parents as any version has."""
MOST_LABELS = 6
CHARACTER, SMALL = 7.4, 6.6
"""Pixels of an average character in a box and in a label, on the wide side: they must hold their text in any font."""
BEND_WIDTH = 12.0
SWEEPS = 6
STYLE = """\
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px }
.digest { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #59636e }
.label { fill: #59636e; text-anchor: middle }
.box { fill: #f6f8fa; stroke: #818b98 }
.absent { stroke-dasharray: 4 3 }
.under { fill: #f6f8fa }
.edge { fill: none; stroke: #818b98; stroke-width: 1.5 }
.further { stroke-dasharray: 4 4 }
.tip { fill: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .digest, .label { fill: #9198a1 } .box, .under { fill: #161b22 }
}"""

Place = tuple[str, int]
"""A node in its layer, or where an edge passes through a layer: a key, and the layer."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything is: the layers' places in order, x of each place's middle, y of each layer's top.

    ``width`` is the picture's, ``wide`` a box's. ``labels`` are counted for each version, upwards from its box.
    """

    layers: list[list[Place]]
    routes: Mapping[Edge, list[Place]]
    x: Mapping[Place, float]
    tops: list[float]
    heights: list[float]
    width: float
    wide: float
    labels: Mapping[Edge, int]


def svg(graph: Graph, title: str) -> str:
    """The picture, as text; everything in it is escaped."""
    told = {key: lineage_text.lines(node) for key, node in graph.nodes.items()}
    names = [_label_width(edge) for edge in graph.edges]
    lines = [len(line) * CHARACTER for lines in told.values() for line in lines]
    high = {key: len(lines) * LINE + 2 * PAD - 4 for key, lines in told.items()}
    plan = _laid_out(graph, max([*names, *lines], default=0.0) + 2 * PAD, high)
    across, down = plan.width, plan.tops[-1] + plan.heights[-1] + MARGIN if plan.tops else 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:.0f}" height="{down:.0f}" '
        f'viewBox="0 0 {across:.0f} {down:.0f}" role="img">',
        f"<title>{escape(plain(title))}</title>",
        f"<style>\n{STYLE}\n</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>',
        *(_edge(edge, plan, high) for edge in graph.edges),
        *(_box(key, graph, told[key], plan, high[key]) for key in graph.nodes),
        *(_label(edge, plan, high) for edge in graph.edges if edge.relation),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _laid_out(graph: Graph, wide: float, high: Mapping[str, float]) -> _Layout:
    layer: dict[str, int] = dict.fromkeys(graph.nodes, 0)
    above: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        above[edge.child].append(edge.parent)
    for key in graph.nodes:  # parents come first
        layer[key] = max((layer[parent] + 1 for parent in above[key]), default=0)
    layers: list[list[Place]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for key, depth in layer.items():
        layers[depth].append((key, depth))
    routes = {}
    for number, edge in enumerate(graph.edges):
        start, end = layer[edge.parent], layer[edge.child]
        bends = [(f"bend {number}", depth) for depth in range(start + 1, end)]
        for bend in bends:
            layers[bend[1]].append(bend)
        routes[edge] = [(edge.parent, start), *bends, (edge.child, end)]
    up, down = defaultdict(list), defaultdict(list)
    for route in routes.values():
        for one, other in pairwise(route):
            down[one].append(other)
            up[other].append(one)
    widths = {place: wide if place[0] in graph.nodes else BEND_WIDTH for row in layers for place in row}
    x = _placed(layers, up, down, widths)
    left = min((x[place] - widths[place] / 2 for place in x), default=0.0)
    x = {place: at - left + MARGIN for place, at in x.items()}
    width = max((x[place] + widths[place] / 2 for place in x), default=0.0) + MARGIN
    labels: dict[Edge, int] = {}
    parents: dict[str, int] = defaultdict(int)
    for edge in sorted(graph.edges, key=lambda edge: not edge.first):
        labels[edge] = parents[edge.child]
        parents[edge.child] = min(parents[edge.child] + 1, MOST_LABELS)
    rise = RISE + LABEL * max(parents.values(), default=0)
    heights = [max((high[key] for key, _ in row if key in high), default=0.0) for row in layers]
    tops = [MARGIN + sum(heights[:depth]) + depth * rise for depth in range(len(layers))]
    return _Layout(layers, routes, x, tops, heights, width, wide, labels)


def _placed(
    layers: list[list[Place]],
    up: Mapping[Place, list[Place]],
    down: Mapping[Place, list[Place]],
    widths: Mapping[Place, float],
) -> dict[Place, float]:
    """The x of every place: near its neighbours, none over another; the order in each layer first, then distances."""
    x: dict[Place, float] = {}
    for row in layers:
        x |= _spread(row, dict.fromkeys(row, 0.0), widths)
    for sweep in range(SWEEPS):
        ways, rows = (up, layers) if sweep % 2 == 0 else (down, layers[::-1])
        for row in rows:
            wanted = {place: _mean([x[other] for other in ways.get(place, ())], x[place]) for place in row}
            if sweep < SWEEPS - 2:
                row.sort(key=wanted.__getitem__)
            x |= _spread(row, wanted, widths)
    return x


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(row: list[Place], wanted: Mapping[Place, float], widths: Mapping[Place, float]) -> dict[Place, float]:
    """As near as can be (least squares) to what is wanted, in this order, without overlaps."""
    offsets, at = [], 0.0
    for place in row:
        at += widths[place] / 2
        offsets.append(at)
        at += widths[place] / 2 + GAP
    # Without the room that all before it take, what is wanted must only not fall: pool what does.
    pools: list[tuple[float, int]] = []
    for place, offset in zip(row, offsets, strict=True):
        total, count = wanted[place] - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, many = pools.pop()
            total, count = total + before, count + many
        pools.append((total, count))
    level = [total / count for total, count in pools for _ in range(count)]
    return {place: base + offset for place, base, offset in zip(row, level, offsets, strict=True)}


def _points(edge: Edge, plan: _Layout, high: Mapping[str, float]) -> list[tuple[float, float]]:
    route = plan.routes[edge]
    points = []
    for place in route:
        key, depth = place
        top = plan.tops[depth]
        if place == route[0]:
            points.append((plan.x[place], top + high[key]))
        elif place == route[-1]:
            points.append((plan.x[place], top))
        else:
            points += [(plan.x[place], top), (plan.x[place], top + plan.heights[depth])]
    return points


def _edge(edge: Edge, plan: _Layout, high: Mapping[str, float]) -> str:
    points = _points(edge, plan, high)
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (y1 - y0) / 2
        path += f"C{x0:.1f} {y0 + half:.1f} {x1:.1f} {y1 - half:.1f} {x1:.1f} {y1:.1f}"
    return f'<path class="edge{"" if edge.first else " further"}" d="{path}" marker-end="url(#tip)"/>'


def _label_width(edge: Edge) -> float:
    return len(plain(edge.relation)) * SMALL + 8


def _label(edge: Edge, plan: _Layout, high: Mapping[str, float]) -> str:
    (x0, y0), (x1, y1) = _points(edge, plan, high)[-2:]
    # Near the child, where edges from one parent have parted; those of several parents above one another.
    y = y1 - 20 - plan.labels[edge] * LABEL
    x, wide = x0 + (x1 - x0) * _share((y - 4 - y0) / (y1 - y0)), _label_width(edge)
    return (
        f'<rect class="under" x="{x - wide / 2:.1f}" y="{y - 12:.1f}" width="{wide:.1f}" height="17" rx="4"/>'
        f'<text class="label" x="{x:.1f}" y="{y:.1f}">{escape(plain(edge.relation))}</text>'
    )


def _share(fallen: float) -> float:
    """How far across an edge has come where it has fallen that far, both from 0 to 1: on the curve of ``_edge``."""
    low, high = 0.0, 1.0
    for _ in range(20):
        t = (low + high) / 2
        low, high = (t, high) if 1.5 * t - 1.5 * t**2 + t**3 < fallen else (low, t)
    return 3 * low**2 - 2 * low**3


def _box(key: str, graph: Graph, told: tuple[str, ...], plan: _Layout, high: float) -> str:
    depth = next(depth for depth, row in enumerate(plan.layers) if (key, depth) in plan.x)
    left, top, wide = plan.x[key, depth] - plan.wide / 2, plan.tops[depth], plan.wide
    absent = "" if graph.nodes[key].published else " absent"
    parts = [f'<rect class="box{absent}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="8"/>']
    for number, line in enumerate(told):
        style = ("title", "digest", "figures")[min(number, 2)]
        y = top + PAD + 10 + number * LINE
        parts.append(f'<text class="{style}" x="{left + PAD:.1f}" y="{y:.1f}">{escape(line)}</text>')
    return "".join(parts)
