"""How sizes, times, tables and foreign text are written for people."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

COLUMNS = {
    "top1_accuracy": ("top-1", "{:.1%}"),
    "top5_accuracy": ("top-5", "{:.1%}"),
    "size_mb": ("size", "{:.2f} MB"),
    "latency_p50_ms": ("p50", "{:.2f} ms"),
    "latency_p99_ms": ("p99", "{:.2f} ms"),
}
"""Benchmark figures that have a column; every other figure is told below the table."""


def size(count: float | None) -> str:
    """Bytes in decimal units, as shops and S3 bills count them; ``unknown`` for None."""
    if count is None:
        return "unknown"
    for factor, unit in UNITS:
        # 999.996 kB would be written 1000.00 kB.
        if count >= factor * 0.999995:
            return f"{count / factor:.2f} {unit}"
    return f"{count:.0f} B"


def day(seconds: float | None) -> str:
    """Seconds since 1970 as a day and a minute, UTC; empty for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def count(number: int, what: str, many: str | None = None) -> str:
    """``1 file``, ``2 files``, ``100,000 files``."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def plain(text: object) -> str:
    """Text without what a terminal would obey: what lies in a tree may be anyone's."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def some(names: Iterable[str], limit: int = 6) -> str:
    """The first few of many names, and how many more there are."""
    all_names = [plain(name) for name in names]
    more = f" and {len(all_names) - limit:,} more" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more


def stamp(seconds: float | None) -> str | None:
    """Seconds since 1970 for programs: ISO 8601, UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head, columns aligned; plain text, so that it can be piped."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def format_facts(facts: Mapping[str, Any]) -> str:
    """Write facts a line each; those that are not known are left out."""
    rows = [(name, f"{value:,.6g}" if isinstance(value, float) else str(value)) for name, value in facts.items()]
    return "\n".join(table(("", ""), [row for row in rows if row[1] != "None"]).splitlines()[1:])
