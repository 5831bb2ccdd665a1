"""Formats of numbers, sizes and dates in documents: ``304M``, ``64.7x``, ``14.5MB``, ``224x224``, ``2026-01-10``."""

import re
from datetime import UTC, datetime

_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def count(number: int | str) -> str:
    """Format a number of parameters with at most three digits: 304,000,000 → ``304M``, 4,652,008 → ``4.7M``.

    Text is returned unchanged; ValueError if it does not have this format.
    """
    if isinstance(number, str):
        return _like(r"\d+(\.\d+)?[KMB]?", number)
    for unit, letter in _UNITS:
        # 999,950,000 would round to 1000M and is therefore written as 1B.
        if number >= unit * 0.9995:
            scaled = number / unit
            text = f"{scaled:.1f}" if scaled < 99.95 else f"{scaled:.0f}"
            return f"{text.removesuffix('.0')}{letter}"
    return str(number)


def ratio(value: float | str) -> str:
    """Format a ratio: 64.68 → ``64.7x``; with three decimals below 1, where one decimal is too coarse.

    Text is returned unchanged; ValueError if it does not have this format.
    """
    if isinstance(value, str):
        return _like(r"\d+(\.\d+)?x", value)
    return f"{value:.1f}x" if value >= 1 else f"{value:.3f}x"


def megabytes(value: float | str) -> str:
    """Format a size in 10^6 bytes: 14.52 → ``14.5MB``; ValueError for text that does not have this format."""
    return _like(r"\d+(\.\d+)?MB", value) if isinstance(value, str) else f"{value:.1f}MB"


def square(value: int | str) -> str:
    """Format the size of a square picture in pixels: 224 → ``224x224``; text is returned unchanged."""
    return f"{value}x{value}" if isinstance(value, int) else value


def day(moment: str) -> str:
    """Return the UTC day of an ISO 8601 time; a time without zone counts as UTC. ValueError if it is not valid."""
    return _utc(moment).strftime("%Y-%m-%d")


def instant(moment: str) -> str:
    """Format an ISO 8601 time in UTC to the second, as in ``2026-01-10T13:31:34Z``; ValueError if it is not valid."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc(moment: str) -> datetime:
    time = datetime.fromisoformat(moment)
    # Python would interpret a time without zone in the zone of this machine.
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _like(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text!r} is not written as {pattern}")
    return text
