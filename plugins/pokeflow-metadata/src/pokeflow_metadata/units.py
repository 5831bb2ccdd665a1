"""How the documents write numbers, sizes and dates: ``304M``, ``64.7x``, ``14.5MB``, ``224x224``, ``2026-01-10``."""

import re
from datetime import UTC, datetime

_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def count(number: int | str) -> str:
    """A number of parameters in three digits at most: 304,000,000 → ``304M``, 4,652,008 → ``4.7M``."""
    if isinstance(number, str):
        return _like(r"\d+(\.\d+)?[KMB]?", number)
    for unit, letter in _UNITS:
        # 999,950,000 would round to 1,000 million, which is written as a billion.
        if number >= unit * 0.9995:
            scaled = number / unit
            text = f"{scaled:.1f}" if scaled < 99.95 else f"{scaled:.0f}"
            return f"{text.removesuffix('.0')}{letter}"
    return str(number)


def ratio(value: float | str) -> str:
    """A quotient: 64.68 → ``64.7x``; below 1, where one decimal says little, in three."""
    if isinstance(value, str):
        return _like(r"\d+(\.\d+)?x", value)
    return f"{value:.1f}x" if value >= 1 else f"{value:.3f}x"


def megabytes(value: float | str) -> str:
    """A size in 10^6 bytes: 14.52 → ``14.5MB``."""
    return _like(r"\d+(\.\d+)?MB", value) if isinstance(value, str) else f"{value:.1f}MB"


def square(value: int | str) -> str:
    """The size of a model's pictures: 224 → ``224x224``; a text stands as it is."""
    return f"{value}x{value}" if isinstance(value, int) else value


def day(moment: str) -> str:
    """The day of a moment, in UTC; ValueError for what is none."""
    return _utc(moment).strftime("%Y-%m-%d")


def instant(moment: str) -> str:
    """A moment to the second, as in ``2026-01-10T13:31:34Z``; ValueError for what is none."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc(moment: str) -> datetime:
    told = datetime.fromisoformat(moment)
    # Python would take a moment without a zone for this machine's own.
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def _like(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text!r} is not written as {pattern}")
    return text
