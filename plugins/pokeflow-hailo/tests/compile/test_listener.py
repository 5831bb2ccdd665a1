"""The listener of the log: shows lines, keeps the relevant ones, and refuses too many of them."""

import json

import pytest

from pokeflow import PokeflowError
from pokeflow_hailo.compile import listener as listening
from pokeflow_hailo.compile import log
from pokeflow_hailo.compile.listener import Listener
from pokeflow_hailo.compile.standalone import MARK


def test_lines_are_recorded_and_shown_and_relevant_ones_kept(caplog):
    caplog.set_level("INFO")
    kept = []
    with Listener(kept.append) as listener:
        listener("\x1b[32m[info] Building HEF...\x1b[0m")
        listener("")
        listener("[info] Using dataset with 64 entries for calibration")
    assert kept == ["[info] Building HEF...", "[info] Using dataset with 64 entries for calibration"]
    assert listener.relevant_lines == kept[1:]
    assert [record.message for record in caplog.records] == [f"  hailo: {line}" for line in kept]


def test_progress_messages_drive_a_bar(monkeypatch):
    seen = []

    class Bar:
        def __init__(self, label, total):
            seen.append((label, total))

        def __enter__(self):
            return seen.append

        def __exit__(self, *_):
            seen.append("closed")

    monkeypatch.setattr(listening.progress, "bar", Bar)
    with Listener(print) as listener:
        for step, done in (("native", 10), ("native", 25), ("quantized", 5)):
            listener(MARK + json.dumps({"step": step, "done": done, "total": 25}))
    assert seen == [("emulating native", 25), 10, 15, "closed", ("emulating quantized", 25), 5, "closed"]


STRANGE = [
    '{"step": "\\u001b[2J", "done": 1, "total": 2}',
    "{",
    "[1]",
    '{"step": 7}',
    '{"step": "x", "done": "9"}',
    "[" * 99_999,
]


@pytest.mark.parametrize("message", STRANGE)
def test_malformed_progress_messages_are_ignored(message):
    with Listener(print) as listener:
        listener(MARK + message)
    assert listener.relevant_lines == []


def test_many_warnings_are_bounded_and_hide_no_level():
    with Listener(lambda line: None) as listener:
        for i in range(10_000):
            listener(f"[warning] {i}")
        listener("[warning] Reducing optimization level to 0 because there's no available GPU")
    assert len(listener.relevant_lines) == log.MAX_WARNINGS + 1
    assert log.parse_log(listener.relevant_lines).optimization_level == 0


def test_too_many_relevant_lines_are_refused():
    line = "[info] Using dataset with 64 entries for calibration"
    with Listener(lambda line: None) as listener:
        for _ in range(log.MAX_RELEVANT_LINES):
            listener(line)
        with pytest.raises(PokeflowError, match="not the Dataflow Compiler's"):
            listener(line)


def test_number_of_shown_lines_is_limited(monkeypatch, caplog):
    monkeypatch.setattr(listening, "MAX_SHOWN", 3)
    caplog.set_level("INFO")
    kept = []
    with Listener(kept.append) as listener:
        for i in range(9):
            listener(f"line {i}")
    assert len(kept) == 9
    assert [m for m in caplog.messages if "line" in m][-1] == (
        "  hailo: … more than 3 lines; the rest is in telemetry/compiler.log"
    )
    assert len(caplog.messages) == 4
