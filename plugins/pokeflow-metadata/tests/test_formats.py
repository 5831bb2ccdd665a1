"""Test the formatting of numbers, ratios and times."""

import pytest

from pokeflow_metadata import formats


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (304_000_000, "304M"), (4_652_008, "4.7M"), (3_764_480, "3.8M"), (86_000_000, "86M"), (99_960_000, "100M"),
        (999_600_000, "1B"), (1_100_000_000, "1.1B"), (1152, "1.2K"), (999, "999"), (0, "0"),
    ],
)  # fmt: skip
def test_parameter_counts_are_abbreviated(number: int, text: str) -> None:
    assert formats.count(number) == text


@pytest.mark.parametrize(("value", "text"), [(64.6809, "64.7x"), (1.0, "1.0x"), (0.3869, "0.387x"), ("3.5x", "3.5x")])
def test_ratios_are_abbreviated(value: float | str, text: str) -> None:
    assert formats.ratio(value) == text


def test_times_are_written_in_utc() -> None:
    assert formats.instant("2026-01-10T01:30:00.9+02:00") == "2026-01-09T23:30:00Z"
    assert formats.day("2026-01-10") == "2026-01-10"
