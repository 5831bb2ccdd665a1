"""Show progress: nothing for quick work, lines without a terminal, a bar on one."""

import logging
import os
import subprocess
import sys

import pytest

from pokeflow import progress
from pokeflow_testkit.support import environment


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_quick_work_logs_nothing(clock, caplog) -> None:
    caplog.set_level(logging.INFO)
    with progress.bar("cards", 10) as advance:
        for _ in range(10):
            clock.now += 0.1
            advance()
    assert caplog.messages == []


def test_long_work_logs_a_line_at_intervals(clock, caplog) -> None:
    caplog.set_level(logging.INFO)
    with progress.bar("cards", 60) as advance:
        for _ in range(60):
            clock.now += 1
            advance(text="loss 0.5")
    assert caplog.messages[0] == "  cards: 2 of 60, loss 0.5, about 58 s left"
    assert len(caplog.messages) == 4


def test_bar_started_under_redirection_restores_stdout() -> None:
    pty = pytest.importorskip("pty")
    code = (
        "import contextlib, io\n"
        "from pokeflow import progress; progress.DELAY_SECONDS = 0\n"
        "with progress.bar('cards', 3) as advance:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        for _ in range(3): advance()\n"
        "print('the figures')\n"
    )
    leader, follower = pty.openpty()
    command, env = [sys.executable, "-c", code], {**os.environ, "TERM": "xterm"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, env=env, check=True)
    os.close(follower)
    os.close(leader)
    assert done.stdout == b"the figures\n"


def test_a_terminal_gets_a_bar() -> None:
    pty = pytest.importorskip("pty")
    code = (
        "from pokeflow import progress; progress.DELAY_SECONDS = 0\n"
        "with progress.bar('cards', 3) as advance:\n"
        "    for _ in range(3): advance(text='loss 0.5')\n"
    )
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=follower, env={**os.environ, "TERM": "xterm"}, check=True)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "cards" in shown
    assert "3/3" in shown


SHOWN = """
import logging, sys
from pokeflow import progress
progress.set_verbosity(int(sys.argv[1]))
progress.enable_logging()
for name in ("pokeflow", "pokeflow_toy.module", "another"):
    for level in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), level)(f"{name} {level}")
progress.DELAY_SECONDS = 0
with progress.bar("items", 3) as advance:
    advance()
"""


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        ("-1", ["pokeflow warning", "pokeflow_toy.module warning", "another warning"]),
        ("0", ["pokeflow info", "pokeflow warning", "pokeflow_toy.module info", "pokeflow_toy.module warning",
               "another warning", "  items: 1 of 3"]),
        ("1", ["pokeflow debug", "pokeflow info", "pokeflow warning", "pokeflow_toy.module debug",
               "pokeflow_toy.module info", "pokeflow_toy.module warning", "another warning", "  items: 1 of 3"]),
    ],
)  # fmt: skip
def test_verbosity_selects_messages_of_pokeflow_and_plugins(verbosity: str, shown: list[str]) -> None:
    command = [sys.executable, "-c", SHOWN, verbosity]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert [line.partition(",")[0] for line in done.stderr.splitlines()] == shown
