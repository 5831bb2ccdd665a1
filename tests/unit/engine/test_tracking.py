"""Send finished tasks to tracking: each once, with none lost and no waiting while it is away."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pokeflow
from pokeflow import plugins
from pokeflow.engine import _tracking as tracking
from pokeflow.flow import Flow, Service
from pokeflow.store._local import Store
from pokeflow.types import Backend, Input, NoParams, Result, Task
from pokeflow_testkit.support import TOY_MODELS, build_flow


class Tracker:
    """Tracking that records what it receives, and raises an error where ``away`` returns true."""

    def __init__(self) -> None:
        self.away: Callable[[Task], bool] = lambda task: False
        self.attempts: list[str] = []
        self.received: list[Input] = []

    def run(self, task: Task) -> Result:
        item = task.inputs[0]
        self.attempts.append(item.record.task)
        if self.away(task):
            raise ConnectionError("no answer")
        self.received.append(item)
        return Result(facts={"run_id": f"run {len(self.received)}"})

    @property
    def tasks(self) -> list[str]:
        return [item.record.task for item in self.received]


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def flow(tmp_path: Path, tracker: Tracker) -> Callable[..., Flow]:
    stages, spy = ("train", "distill", "compile", "benchmark"), Backend("spy", "track", tracker.run, NoParams)

    def make(*, force: tuple[str, ...] = ()) -> Flow:
        service = Service(spy, NoParams())
        return build_flow(tmp_path / "store", TOY_MODELS, stages=stages, force=force, tracking=service)

    return make


def run(flow: Flow) -> tuple[str, ...]:
    return pokeflow.run(flow).ran


def notes(flow: Flow) -> list[str]:
    folder = flow.root / "outbox"
    return sorted(note.name for note in folder.iterdir()) if folder.exists() else []


def test_each_task_is_tracked_once_and_its_answer_is_kept(flow, tracker) -> None:
    assert run(flow()) == tuple(tracker.tasks)
    assert run(flow()) == ()

    assert len(tracker.tasks) == len(set(tracker.tasks)) == len(tracker.attempts)
    for number, item in enumerate(tracker.received, start=1):
        assert tracking.tracking_answers(item.folder) == {item.record.started: {"run_id": f"run {number}"}}
    assert notes(flow()) == []


def test_outage_costs_one_attempt_and_next_run_sends_everything(flow, tracker, caplog) -> None:
    tracker.away = lambda task: True
    ran = run(flow())

    assert len(ran) >= 4
    assert len(tracker.attempts) == 1
    assert len(notes(flow())) == len(ran)
    assert caplog.text.count(f"tracking: {len(ran)} unsent in") == 1

    tracker.away = lambda task: False
    assert run(flow()) == ()
    assert sorted(tracker.tasks) == sorted(ran)
    assert notes(flow()) == []


def test_tracking_recovers_from_a_short_outage_in_the_same_run(flow, tracker, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tracking, "RETRY_FACTOR", 0)
    tracker.away = lambda task: len(tracker.attempts) == 1

    ran = run(flow())

    assert sorted(tracker.tasks) == sorted(ran)
    assert tracker.tasks[-1] == ran[0]
    assert notes(flow()) == []


def test_the_pause_is_ten_times_as_long_as_the_failure_took(flow, tracker, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(tracking.time, "monotonic", lambda: clock[0])
    outbox = tracking.TrackingOutbox(flow(), plugins.manager().hook, Store(flow().root))

    def slowly(task: Task) -> bool:
        clock[0] += 90
        return True

    tracker.away = lambda task: True
    run(flow())
    before = len(tracker.attempts)
    tracker.away = slowly
    outbox.catch_up()
    for later, attempts in ((890, 1), (20, 2)):
        clock[0] += later
        outbox.catch_up()
        assert len(tracker.attempts) - before == attempts


def test_refused_record_does_not_block_the_others(flow, tracker) -> None:
    tracker.away = lambda task: True
    ran = run(flow())
    tracker.away = lambda task: task.inputs[0].record.task == "train:teacher"
    run(flow())
    run(flow())

    assert sorted(tracker.tasks) == sorted(set(ran) - {"train:teacher"})
    assert [note.split("-")[:2] for note in notes(flow())] == [["train", "teacher"]]


def test_replaced_result_is_tracked_without_its_files(flow, tracker) -> None:
    tracker.away = lambda task: True
    run(flow())
    assert run(flow(force=("teacher",))) == ("train:teacher", "benchmark:teacher")
    tracker.away = lambda task: False
    run(flow())

    first, second = sorted(
        (g for g in tracker.received if g.record.task == "train:teacher"), key=lambda g: g.record.started
    )
    assert first.record.digest == second.record.digest
    assert not first.folder.exists()
    assert (second.folder / "record.json").exists()
    answers = tracking.tracking_answers(second.folder)
    assert set(answers) == {first.record.started, second.record.started}


def test_note_of_an_uncommitted_task_waits_until_it_reruns(flow, tracker) -> None:
    toy_flow = flow()
    step = toy_flow.step("train:teacher")
    tracking.enqueue(toy_flow, Store(toy_flow.root), step, "2026-01-10T13:00:00.000000+00:00")
    outbox = tracking.TrackingOutbox(toy_flow, plugins.manager().hook, Store(toy_flow.root))
    outbox.catch_up()
    assert (tracker.attempts, len(notes(toy_flow))) == ([], 1)

    run(toy_flow)
    assert tracker.tasks.count("train:teacher") == 1
    assert notes(toy_flow) == []


def test_a_note_of_an_earlier_pokeflow_is_understood(flow, tracker) -> None:
    toy_flow = flow()
    tracker.away = lambda task: True
    run(toy_flow)
    for note in (toy_flow.root / "outbox").iterdir():
        note.write_text(note.read_text().partition("\n")[0])
    tracker.away = lambda task: False
    run(toy_flow)

    assert len(tracker.tasks) == len(set(tracker.tasks)) >= 4
    assert notes(toy_flow) == []


def test_note_locked_by_another_process_is_skipped(flow, tracker) -> None:
    toy_flow = flow()
    tracker.away = lambda task: True
    run(toy_flow)
    tracker.away = lambda task: False
    note = next((toy_flow.root / "outbox").iterdir())
    code = (
        "import sys\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()\n"
    )
    held = toy_flow.root / "locks" / f"{note.name}.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"

    run(toy_flow)
    assert notes(toy_flow) == [note.name]
    other.communicate()
    run(toy_flow)
    assert notes(toy_flow) == []
    assert len(tracker.tasks) == len(set(tracker.tasks))


def test_unreadable_note_is_reported_and_blocks_nothing(flow, tracker, caplog) -> None:
    toy_flow = flow()
    (toy_flow.root / "outbox").mkdir(parents=True)
    (toy_flow.root / "outbox" / "note").write_bytes(b"\xff\xfe")
    ran = run(toy_flow)

    assert tuple(tracker.tasks) == ran
    assert "is not a note of a task to track" in caplog.text
