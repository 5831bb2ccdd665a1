"""Run transfers on many workers: finish all of them, raise the first error, and stop on Ctrl-C."""

import itertools
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pokeflow import progress
from pokeflow.objects._base import Advance
from pokeflow.objects._transfer import CancelledError, DaemonPool, each, raise_if_cancelled, wait_for_result


def test_every_item_is_done_once() -> None:
    done: list[int] = []
    each(lambda item, advance: done.append(item), range(1000), label="x", total=0, workers=7)
    assert sorted(done) == list(range(1000))


def test_no_items_and_fewer_than_workers_are_fine() -> None:
    done: list[int] = []
    each(lambda item, advance: done.append(item), [], label="x", total=0)
    each(lambda item, advance: done.append(item), [1], label="x", total=0)
    assert done == [1]


def test_every_worker_runs_an_item_at_the_same_time() -> None:
    barrier = threading.Barrier(5)
    each(lambda item, advance: barrier.wait(120), range(10), label="x", total=0, workers=5)
    assert not barrier.broken


def test_items_are_drawn_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    def work(item: int, advance: Advance) -> None:
        assert len(taken) <= item + 3

    each(work, items(), label="x", total=0, workers=3)
    assert len(taken) == 100


def test_progress_counts_the_bytes_of_all_workers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "pokeflow"):
        each(lambda item, advance: (advance(0), advance(1)), range(100), label="sending", total=101, workers=4)
    assert "sending: 1 of 101" in caplog.text


def test_first_error_is_raised_and_no_more_items_start() -> None:
    started: list[int] = []

    def work(item: int, advance: Advance) -> None:
        started.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^\d+$"):
        each(work, itertools.count(), label="x", total=0, workers=3)
    assert len(started) <= 3


def test_error_cancels_running_items_and_waits_for_them() -> None:
    under_way, cleaned = threading.Event(), threading.Event()

    def work(item: int, advance: Advance) -> None:
        if item == 0:
            assert under_way.wait(120)
            raise ValueError("first")
        try:
            while True:
                under_way.set()
                advance(1)
        except CancelledError:
            cleaned.set()
            raise

    with pytest.raises(ValueError, match="first"):
        each(work, range(2), label="x", total=1e12, workers=2)
    assert cleaned.is_set()


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("listing")

    with pytest.raises(KeyError, match="listing"):
        each(lambda item, advance: None, items(), label="x", total=0)


def test_raise_if_cancelled_does_nothing_outside_a_transfer() -> None:
    raise_if_cancelled()


STUCK = """
import sys, threading, time
from pokeflow.objects._transfer import each
def work(item, advance):
    if item == 0:
        print("ready", flush=True)
    time.sleep(600)
each(work, range(100), label="x", total=0)
"""


@pytest.mark.slow
def test_ctrl_c_exits_although_a_transfer_is_stuck() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.wait(120)
        assert process.returncode == -signal.SIGINT


def test_ctrl_c_while_workers_start_stops_the_started_ones(monkeypatch) -> None:
    under_way, cleaned, start = threading.Event(), threading.Event(), threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert under_way.wait(120)
        raise KeyboardInterrupt

    def work(item: int, advance: Advance) -> None:
        try:
            while True:
                under_way.set()
                advance(1)
        except CancelledError:
            cleaned.set()
            raise

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        each(work, range(9), label="x", total=1e12, workers=3)
    assert cleaned.is_set()


def test_pool_returns_results_and_errors_of_its_calls() -> None:
    pool = DaemonPool(3, "test")
    futures = [pool.submit(divmod, 10, n) for n in range(4)]
    assert [wait_for_result(future) for future in futures[1:]] == [(10, 0), (5, 0), (3, 1)]
    with pytest.raises(ZeroDivisionError):
        wait_for_result(futures[0])


def test_cancelled_call_does_not_run() -> None:
    pool, gate, done = DaemonPool(1, "test"), threading.Event(), []
    first = pool.submit(gate.wait, 10)
    second = pool.submit(done.append, 2)
    assert second.cancel()
    third = pool.submit(done.append, 3)
    gate.set()
    wait_for_result(first)
    wait_for_result(third)
    assert done == [3]


def test_waiting_for_a_result_can_be_stopped() -> None:
    pool, gate, waiting = DaemonPool(1, "test"), threading.Event(), threading.Event()

    def work(item: int, advance: Advance) -> None:
        if item:
            assert waiting.wait(120)
            raise ValueError("first")
        waiting.set()
        wait_for_result(pool.submit(gate.wait, 60))

    with pytest.raises(ValueError, match="first"):
        each(work, range(2), label="x", total=0, workers=2)
    gate.set()
