"""Test the training history: every run is listed once, in a fixed order, and never changed or lost."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow.project import Run
from pokeflow_metadata import history

from .documents_support import BENCHMARKS, COMPILE, DISTILL1, PREPARE, PRODUCERS, TRAIN, faults_of

ANSWER = {"experiment": "pokemon-card-dinov3-teacher", "run_id": "abc", "uri": "https://me:secret@mlflow.example.com"}


def ids(document: dict[str, Any]) -> list[str]:
    return [run["id"] for run in document["runs"]]


def test_history_lists_only_tasks_that_create_models() -> None:
    entries = history.entries(Run(record) for record in (PREPARE, *PRODUCERS, *BENCHMARKS))
    assert [entry["task"] for entry in entries] == [record.task for record in PRODUCERS]


def test_history_entry_has_all_fields_of_a_run() -> None:
    (entry,) = history.entries([Run(replace(DISTILL1, metrics={**DISTILL1.metrics, "x": None}, reasons={"x": "why"}))])
    assert list(entry) == [
        "id", "task", "stage", "model", "version", "type", "digest", "content", "backend", "revision", "executor",
        "status", "started", "finished", "seconds", "cost_usd", "params", "inputs", "metrics", "experiment", "run_id",
        "tracking_uri", "reasons",
    ]  # fmt: skip
    assert entry["status"] == "finished"
    assert entry["cost_usd"] == 4.0
    assert entry["metrics"]["x"] is None
    assert entry["metrics"]["reasons"] == {"x": "why"}
    assert entry["reasons"]["run_id"] == "no tracking is recorded for this run"


def test_unbilled_run_has_the_records_reason() -> None:
    (entry,) = history.entries([Run(replace(TRAIN, cost_usd=None, reasons={"cost_usd": "nobody asks for money"}))])
    assert entry["cost_usd"] is None
    assert entry["reasons"]["cost_usd"] == "nobody asks for money"


def test_later_tracking_is_added_once_and_kept() -> None:
    first = history.merge(None, history.entries([Run(TRAIN)]), "p")
    second = history.merge(first, history.entries([Run(TRAIN, ANSWER)]), "p")
    third = history.merge(second, history.entries([Run(TRAIN, {**ANSWER, "run_id": "another"})]), "p")
    assert first["runs"][0]["run_id"] is None
    assert second["runs"][0]["run_id"] == third["runs"][0]["run_id"] == "abc"
    assert second["runs"][0]["tracking_uri"] == "https://mlflow.example.com"
    assert second["runs"][0]["reasons"] == {}
    assert history.merge(third, history.entries([Run(TRAIN)]), "p") == third


def test_local_tracking_address_is_omitted() -> None:
    (entry,) = history.entries([Run(TRAIN, {**ANSWER, "uri": "sqlite:////home/me/mlflow.db"})])
    assert (entry["run_id"], entry["tracking_uri"]) == ("abc", None)
    assert entry["reasons"] == {"tracking_uri": "tracked in a file of the machine that ran it"}


def test_existing_entries_never_change() -> None:
    old = history.merge(None, history.entries([Run(TRAIN)]), "p")
    altered = replace(TRAIN, seconds=1.0, metrics={"top1_accuracy": 1.0})
    assert history.merge(old, history.entries([Run(altered)]), "p") == old


def test_passwords_in_parameters_are_removed() -> None:
    record = replace(TRAIN, params={"source": ["s3://key:secret@bucket/x"]})
    (entry,) = history.entries([Run(record)])
    assert entry["params"] == {"source": ["s3://bucket/x"]}


RECORDS = st.builds(
    lambda record, hour, top1: replace(
        record,
        started=f"2026-01-10T{hour:02}:00:00+00:00",
        finished=f"2026-01-11T{hour:02}:00:00+00:00",
        metrics={"top1_accuracy": top1},
        reasons={"cost_usd": "free"} | ({} if top1 is not None else {"top1_accuracy": "unknown"}),
    ),
    st.sampled_from(PRODUCERS),
    st.integers(0, 5),
    st.just(0.5) | st.none(),
)


@settings(deadline=None)
@given(st.lists(st.tuples(RECORDS, st.booleans())), st.randoms(use_true_random=False))
def test_history_does_not_depend_on_order_or_batches(runs: list[tuple[Any, bool]], random: Any) -> None:
    # The same run has the same results: of several records with one id only the last is used.
    distinct = {(record.task, record.digest, record.started): record for record, _ in runs}
    pending = [
        Run(distinct[record.task, record.digest, record.started], ANSWER if tracked else None)
        for record, tracked in runs
    ]
    at_once = history.merge(None, history.entries(pending), "p")
    random.shuffle(pending)
    document: dict[str, Any] | None = None
    while pending:
        portion = random.randint(1, len(pending))
        document = history.merge(document, history.entries(pending[:portion]), "p")
        pending = pending[portion:]
    assert (document or history.merge(None, [], "p")) == at_once
    assert len(set(ids(at_once))) == len(ids(at_once)) == len(distinct)
    assert at_once["runs"] == sorted(at_once["runs"], key=lambda run: (run["started"], run["id"]))
    assert faults_of(at_once, "training_history") == []


def test_repeated_task_is_another_run() -> None:
    again = replace(COMPILE, started="2026-02-01T00:00:00+00:00")
    assert len(set(ids(history.merge(None, history.entries([Run(COMPILE), Run(again)]), "p")))) == 2
