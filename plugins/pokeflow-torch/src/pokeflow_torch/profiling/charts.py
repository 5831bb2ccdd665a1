"""Charts as inline SVG, without external files; their colours are CSS variables of the page."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 720
COLORS = 7
"""Number of colours of the page: --c1 … --c7."""

HUGE = 1e300
"""Limit of plausible values; values beyond it, and NaN, are not drawn."""

Points = Sequence[tuple[float, float]]


def parts(shares: Mapping[str, float]) -> str:
    """Draw one bar that is divided by shares of 1, with a legend."""
    bar, legend, at = [], [], 0.0
    for i, (name, share) in enumerate(shares.items()):
        width = share * WIDTH
        title = f"<title>{escape(name)} {share:.1%}</title>"
        bar.append(f'<rect x="{at:.1f}" y="0" width="{width:.1f}" height="34" fill="{_color(i)}">{title}</rect>')
        if share > 0.07:
            bar.append(f'<text x="{at + width / 2:.1f}" y="22" class="in">{share:.0%}</text>')
        legend.append(f'<span><i style="background:{_color(i)}"></i>{escape(name)} {share:.1%}</span>')
        at += width
    return f'{_svg(34, "".join(bar), "shares of a step")}<p class="legend">{"".join(legend)}</p>'


def bars(values: Sequence[tuple[str, float]], unit: str, *, logarithmic: bool = False) -> str:
    """Draw one horizontal bar per name, in the order of ``values``; values that are not finite are left out.

    Args:
        values: Names and values.
        unit: Unit of the values.
        logarithmic: True for a logarithmic scale, which leaves out values that are not positive.

    """
    plotted = [(name, value) for name, value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if not plotted:
        return _no_data()
    rows, height, margin = [], 22, 300
    top = max(value for _, value in plotted)
    low = math.floor(math.log10(min(value for _, value in plotted))) if logarithmic else 0.0
    span = max(1e-12, math.log10(top) - low) if logarithmic else max(top, 1e-12)
    for i, (name, value) in enumerate(plotted):
        share = (math.log10(value) - low) / span if logarithmic else value / span
        width, y = max(1.0, share * (WIDTH - margin - 90)), i * height
        label = name if len(name) <= 44 else f"…{name[-43:]}"
        rows.append(
            f'<text x="{margin - 8}" y="{y + 15}" class="end">{escape(label)}<title>{escape(name)}</title></text>'
            f'<rect x="{margin}" y="{y + 4}" width="{width:.1f}" height="14" rx="2" fill="{_color(0)}"/>'
            f'<text x="{margin + width + 6:.1f}" y="{y + 15}">{_number(value)} {escape(unit)}</text>'
        )
    return _svg(len(plotted) * height + 4, "".join(rows), unit)


def lines(series: Mapping[str, Points], x: str, y: str, *, top: float | None = None) -> str:
    """Draw several series as lines in one chart.

    Args:
        series: Points (x, y) by name.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        top: Upper end of the vertical axis; by default a little above the largest value.

    """
    plotted = {name: [p for p in points if all(abs(value) < HUGE for value in p)] for name, points in series.items()}
    plotted = {name: points for name, points in plotted.items() if points}
    if not plotted:
        return _no_data()
    all_points = [point for points in plotted.values() for point in points]
    margin, bottom, height = 64, 190, 230
    x0, x1 = min(p[0] for p in all_points), max(p[0] for p in all_points)
    y1 = top or max(p[1] for p in all_points) * 1.05 or 1.0
    y0 = min(0.0, *(p[1] for p in all_points))

    def coordinates(point: tuple[float, float]) -> str:
        across = (point[0] - x0) / (x1 - x0 or 1) * (WIDTH - margin - 12)
        up = (min(point[1], y1) - y0) / (y1 - y0 or 1) * (bottom - 12)
        return f"{margin + across:.1f},{bottom - up:.1f}"

    elements = []
    for i in range(5):
        value = y0 + (y1 - y0) * i / 4
        level = bottom - (bottom - 12) * i / 4
        elements.append(f'<line x1="{margin}" x2="{WIDTH - 12}" y1="{level:.1f}" y2="{level:.1f}" class="grid"/>')
        elements.append(f'<text x="{margin - 8}" y="{level + 4:.1f}" class="end">{_number(value)}</text>')
    elements.append(f'<text x="{margin}" y="{bottom + 18}">{_number(x0)}</text>')
    elements.append(f'<text x="{WIDTH - 12}" y="{bottom + 18}" class="end">{_number(x1)} {escape(x)}</text>')
    for i, points in enumerate(plotted.values()):
        path = " ".join(map(coordinates, points))
        elements.append(f'<polyline points="{path}" fill="none" stroke="{_color(i)}" stroke-width="1.8"/>')
        if len(points) == 1:
            across, up = path.split(",")
            elements.append(f'<circle cx="{across}" cy="{up}" r="3" fill="{_color(i)}"/>')
    names = "".join(f'<span><i style="background:{_color(i)}"></i>{escape(n)}</span>' for i, n in enumerate(plotted))
    return f'{_svg(height, "".join(elements), y)}<p class="legend">{names}<span>{escape(y)}</span></p>'


def _svg(height: float, content: str, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _color(i: int) -> str:
    return f"var(--c{i % COLORS + 1})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _no_data() -> str:
    return '<p class="none">Nothing was measured.</p>'
