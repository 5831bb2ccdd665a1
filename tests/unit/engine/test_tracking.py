"""What tracking hears of finished tasks: each once, and nothing is lost or waited for when it is away."""

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
    """Tracking that keeps what it is told, and is away as long as ``away`` says so."""

    def __init__(self) -> None:
        self.away: Callable[[Task], bool] = lambda task: False
        self.asked: list[str] = []
        self.told: list[Input] = []

    def run(self, task: Task) -> Result:
        given = task.inputs[0]
        self.asked.append(given.record.task)
        if self.away(task):
            raise ConnectionError("no answer")
        self.told.append(given)
        return Result(facts={"run_id": f"run {len(self.told)}"})

    @property
    def tasks(self) -> list[str]:
        return [given.record.task for given in self.told]


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
    folder = flow.root / "untracked"
    return sorted(note.name for note in folder.iterdir()) if folder.exists() else []


def test_each_task_that_ran_is_told_once_and_its_answer_lies_beside_the_record(flow, tracker) -> None:
    assert run(flow()) == tuple(tracker.tasks)
    assert run(flow()) == ()

    assert len(tracker.tasks) == len(set(tracker.tasks)) == len(tracker.asked)
    for number, given in enumerate(tracker.told, start=1):
        assert tracking.tracking_answers(given.folder) == {given.record.started: {"run_id": f"run {number}"}}
    assert notes(flow()) == []


def test_a_tracker_that_is_away_is_waited_for_once_a_run_and_told_all_by_the_next(flow, tracker, caplog) -> None:
    tracker.away = lambda task: True
    ran = run(flow())

    assert len(ran) >= 4
    assert len(tracker.asked) == 1
    assert len(notes(flow())) == len(ran)
    assert caplog.text.count(f"tracking: {len(ran)} unsent in") == 1

    tracker.away = lambda task: False
    assert run(flow()) == ()
    assert sorted(tracker.tasks) == sorted(ran)
    assert notes(flow()) == []


def test_a_short_outage_is_made_up_for_in_the_same_run(flow, tracker, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tracking, "RETRY_FACTOR", 0)
    tracker.away = lambda task: len(tracker.asked) == 1

    ran = run(flow())

    assert sorted(tracker.tasks) == sorted(ran)
    assert tracker.tasks[-1] == ran[0]
    assert notes(flow()) == []


def test_the_pause_is_ten_times_as_long_as_the_failure_took(flow, tracker, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(tracking.time, "monotonic", lambda: clock[0])
    teller = tracking.TrackingOutbox(flow(), plugins.manager().hook, Store(flow().root))

    def slowly(task: Task) -> bool:
        clock[0] += 90
        return True

    tracker.away = lambda task: True
    run(flow())
    before = len(tracker.asked)
    tracker.away = slowly
    teller.catch_up()
    for later, asked in ((890, 1), (20, 2)):
        clock[0] += later
        teller.catch_up()
        assert len(tracker.asked) - before == asked


def test_one_record_that_tracking_refuses_holds_up_no_other_for_long(flow, tracker) -> None:
    tracker.away = lambda task: True
    ran = run(flow())
    tracker.away = lambda task: task.inputs[0].record.task == "train:teacher"
    run(flow())
    run(flow())

    assert sorted(tracker.tasks) == sorted(set(ran) - {"train:teacher"})
    assert [note.split("-")[:2] for note in notes(flow())] == [["train", "teacher"]]


def test_of_a_result_that_was_replaced_while_tracking_was_away_the_record_is_told_and_none_of_its_files(
    flow, tracker
) -> None:
    tracker.away = lambda task: True
    run(flow())
    assert run(flow(force=("teacher",))) == ("train:teacher", "benchmark:teacher")
    tracker.away = lambda task: False
    run(flow())

    first, second = sorted(
        (g for g in tracker.told if g.record.task == "train:teacher"), key=lambda g: g.record.started
    )
    assert first.record.digest == second.record.digest
    assert not first.folder.exists()
    assert (second.folder / "record.json").exists()
    answers = tracking.tracking_answers(second.folder)
    assert set(answers) == {first.record.started, second.record.started}


def test_a_note_whose_task_was_never_committed_waits_and_is_dropped_when_it_is_made_anew(flow, tracker) -> None:
    made = flow()
    step = made.step("train:teacher")
    tracking.enqueue(made, Store(made.root), step, "2026-01-10T13:00:00.000000+00:00")
    teller = tracking.TrackingOutbox(made, plugins.manager().hook, Store(made.root))
    teller.catch_up()
    assert (tracker.asked, len(notes(made))) == ([], 1)

    run(made)
    assert tracker.tasks.count("train:teacher") == 1
    assert notes(made) == []


def test_a_note_of_an_earlier_pokeflow_is_understood(flow, tracker) -> None:
    made = flow()
    tracker.away = lambda task: True
    run(made)
    for note in (made.root / "untracked").iterdir():
        note.write_text(note.read_text().partition("\n")[0])
    tracker.away = lambda task: False
    run(made)

    assert len(tracker.tasks) == len(set(tracker.tasks)) >= 4
    assert notes(made) == []


def test_what_another_process_is_sending_is_neither_sent_twice_nor_waited_for(flow, tracker) -> None:
    made = flow()
    tracker.away = lambda task: True
    run(made)
    tracker.away = lambda task: False
    note = next((made.root / "untracked").iterdir())
    code = (
        "import sys\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()\n"
    )
    held = made.root / "locks" / f"{note.name}.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"

    run(made)
    assert notes(made) == [note.name]
    other.communicate()
    run(made)
    assert notes(made) == []
    assert len(tracker.tasks) == len(set(tracker.tasks))


def test_a_note_that_is_none_is_told_and_disturbs_nothing(flow, tracker, caplog) -> None:
    made = flow()
    (made.root / "untracked").mkdir(parents=True)
    (made.root / "untracked" / "note").write_bytes(b"\xff\xfe")
    ran = run(made)

    assert tuple(tracker.tasks) == ran
    assert "is not a note of a task to track" in caplog.text
