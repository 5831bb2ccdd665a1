"""Formatting of sizes, times, tables and untrusted text for people."""

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
"""Benchmark figures with a column in the table of models: heading and format of each."""


def format_size(count: float | None) -> str:
    """Format a number of bytes in decimal units, as vendors and S3 bills do; ``unknown`` for None."""
    if count is None:
        return "unknown"
    for factor, unit in UNITS:
        # Rounded to two digits, 999.996 kB would read 1000.00 kB.
        if count >= factor * 0.999995:
            return f"{count / factor:.2f} {unit}"
    return f"{count:.0f} B"


def format_day(seconds: float | None) -> str:
    """Format seconds since 1970 as date, hour and minute in UTC; empty for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun: ``1 file``, ``2 files``, ``100,000 files``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def strip_control_characters(text: object) -> str:
    """Replace characters that a terminal would interpret: text from a published tree is not trusted."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def shorten(names: Iterable[str], limit: int = 6) -> str:
    """Join the first few of many names, and say how many more there are."""
    all_names = [strip_control_characters(name) for name in names]
    more = f" and {len(all_names) - limit:,} more" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more


def iso_timestamp(seconds: float | None) -> str | None:
    """Format seconds since 1970 for programs: ISO 8601 in UTC; None for None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format rows below a header with aligned columns, as plain text that can be piped."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def format_facts(facts: Mapping[str, Any]) -> str:
    """Format facts as text, one per line; unknown facts (None) are left out."""
    rows = [(name, f"{value:,.6g}" if isinstance(value, float) else str(value)) for name, value in facts.items()]
    return "\n".join(table(("", ""), [row for row in rows if row[1] != "None"]).splitlines()[1:])
