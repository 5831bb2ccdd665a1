"""Waiting for a job: each line of its log once, its progress as a local bar."""

import logging
import time
from contextlib import ExitStack, contextmanager

import pytest

from pokeflow import PokeflowError, progress
from pokeflow_sagemaker.executor import jobs, watch
from pokeflow_sagemaker.executor.jobs import Job

JOB = Job("training", "pokeflow-x-0", "us-east-1")


@pytest.fixture
def bars(monkeypatch):
    """Record every progress bar: its label, total, progress and text."""
    shown = []

    @contextmanager
    def bar(label, total):
        mine = [label, total, 0.0, ""]
        shown.append(mine)

        def advance(n=1.0, text=""):
            mine[2] += n
            mine[3] = text or mine[3]

        yield advance

    monkeypatch.setattr(progress, "bar", bar)
    return shown


def test_progress_lines_of_a_job_drive_a_bar(bars, caplog, monkeypatch):
    """The lines come from the code that prints them in the container."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with progress._lines("train teacher: epoch 1 of 2", 40) as advance:
        for step in range(40):
            advance(text=f"loss {1 / (step + 1):.3f}, lr 0.1")
    with progress._lines("embedding", 3) as advance:
        advance()
    lines = [record.getMessage() for record in caplog.records]
    with ExitStack() as stack:
        bar = watch._Bar(stack)
        assert all(bar.follows(line) for line in lines)
        assert not bar.follows("  metric loss=0.5")
        assert not bar.follows("3 of 4")
    assert [mine[:3] for mine in bars] == [["train teacher: epoch 1 of 2", 40.0, 39.0], ["embedding", 3.0, 1.0]]
    assert bars[0][3] == "loss 0.026, lr 0.1"


def test_a_resumed_job_s_progress_never_goes_back(bars):
    with ExitStack() as stack:
        bar = watch._Bar(stack)
        for done in (10, 4, 12):
            bar.follows(f"  train: {done} of 20, about 3 s left")
    assert bars == [["train", 20.0, 12.0, ""]]


def test_log_lines_are_returned_once_across_pages_and_streams(cloud):
    logs = cloud.aws("logs")
    group = "/aws/sagemaker/TrainingJobs"
    logs.create_log_group(logGroupName=group)
    said = watch.Logs(JOB)
    assert list(said.lines()) == []
    for name in ("pokeflow-x-0/algo-1-1", "pokeflow-x-0/algo-2-1", "pokeflow-x-0-2/algo-1-1"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)

    def say(name, *lines):
        began = int(time.time() * 1000)  # events older than two weeks are dropped
        events = [{"timestamp": began + i, "message": line} for i, line in enumerate(lines)]
        logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)

    say("pokeflow-x-0/algo-1-1", "one", "two")
    say("pokeflow-x-0-2/algo-1-1", "of another attempt")
    assert list(said.lines()) == ["one", "two"]
    assert list(said.lines()) == []
    say("pokeflow-x-0/algo-1-1", "three")
    say("pokeflow-x-0/algo-2-1", "of the second machine")
    assert list(said.lines()) == ["three", "of the second machine"]


def test_late_log_lines_are_shown(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    waits = []
    monkeypatch.setattr(jobs, "pause", waits.append)
    monkeypatch.setattr(Job, "describe", lambda _: {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"})
    monkeypatch.setattr(watch.Logs, "lines", lambda _: ["late"] if waits else [])
    watch.wait(JOB, 5.0)
    assert "late" in caplog.text
    assert waits == [watch.LATE]


def test_wait_retries_while_the_network_is_down(monkeypatch, caplog):
    answers = [PokeflowError("nothing answers.")] * 3 + [{"TrainingJobStatus": "Completed"}]

    def describe(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(jobs, "pause", lambda _: None)
    monkeypatch.setattr(Job, "describe", describe)
    monkeypatch.setattr(watch.Logs, "lines", lambda _: [])
    assert watch.wait(JOB, 5.0) == {"TrainingJobStatus": "Completed"}
    assert caplog.text.count("Retrying.") == 3


def test_every_status_is_logged_once_even_between_polls(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    names = ["Starting", "Training", "Interrupted", "Starting", "Training", "Completed"]
    passed = [{"Status": name, "StatusMessage": f"{name} it"} for name in names]
    seen = [(1, "InProgress"), (1, "InProgress"), (4, "InProgress"), (6, "Completed")]
    answers = iter(
        {"TrainingJobStatus": status, "SecondaryStatusTransitions": passed[:count]} for count, status in seen
    )
    monkeypatch.setattr(jobs, "pause", lambda _: None)
    monkeypatch.setattr(Job, "describe", lambda _: next(answers))
    monkeypatch.setattr(watch.Logs, "lines", lambda _: [])
    watch.wait(JOB, 5.0)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"  {JOB.name}: {name}: {name} it" for name in names]
