"""Foreign text is made printable before it is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.sanitize import MAX_LENGTH, printable


@given(st.text())
def test_shown_text_is_printable(raw):
    assert printable(raw).isprintable()


@pytest.mark.parametrize(
    "raw", ["x" * 2 * MAX_LENGTH, "\x1b[31m" * MAX_LENGTH + "x", "\r" * MAX_LENGTH, "x\n" * MAX_LENGTH]
)
def test_shown_text_is_bounded(raw):
    assert len(printable(raw)) <= MAX_LENGTH
    assert len(printable(raw, 10)) <= 10


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[33m[warning] x\x1b[0m\n", "[warning] x"),
        ("Calibration: 0%\rCalibration: 100%\n", "Calibration: 100%"),
        ("one\r\ntwo 0%\rtwo 100%\r\n", "one two 100%"),
        ("\x1b]0;mine\x07\u202e", " ]0;mine"),
        ("a\tb", "a b"),
        ("Pikachü ★", "Pikachü ★"),
    ],
)
def test_colours_progress_bars_and_control_codes_are_removed(raw, shown):
    assert printable(raw) == shown
