"""What MLflow keeps beside runs and models is shared too, without a line of code for it."""

import pytest
from mlflow.entities import Expectation, Feedback, TraceInfo, TraceLocation, TraceState
from mlflow.entities.assessment import AssessmentSource
from mlflow.exceptions import MlflowException


@pytest.fixture
def two(machine):
    a, b = machine("a"), machine("b")
    return a, b, a.tracking.create_experiment("cards")


def traced(store, number: str, identity: str = "tr-1") -> TraceInfo:
    location = TraceLocation.from_experiment_id(number)
    return store.start_trace(
        TraceInfo(identity, location, 1000, TraceState.OK, "asked", "answered", None, 5, {"k": "v"}, {"t": "1"})
    )


def test_traces_with_their_tags_and_assessments(two) -> None:
    a, b, number = two
    traced(a.tracking, number)
    a.tracking.set_trace_tag("tr-1", "more", "2")
    source = AssessmentSource("HUMAN", "ash")
    a.tracking.create_assessment(Feedback(name="right", value=True, source=source, trace_id="tr-1"))
    a.tracking.create_assessment(Expectation(name="card", value="base1-4", source=source, trace_id="tr-1"))
    a.flush()

    found = b.tracking.get_trace_info("tr-1")
    assert (found.request_preview, found.response_preview, found.execution_duration) == ("asked", "answered", 5)
    assert found.tags.items() >= {"t": "1", "more": "2"}.items()
    assert found.trace_metadata.items() >= {"k": "v"}.items()
    assert {each.name for each in found.assessments} == {"right", "card"}
    (listed,), _ = b.tracking.search_traces(locations=[number])
    assert listed.trace_id == "tr-1"


def test_traces_that_are_deleted_are_gone_everywhere(two) -> None:
    a, b, number = two
    traced(a.tracking, number)
    traced(a.tracking, number, "tr-2")
    a.flush()
    assert len(b.tracking.search_traces(locations=[number])[0]) == 2
    b.tracking.delete_traces(number, trace_ids=["tr-1"])
    b.flush()
    assert [t.trace_id for t in a.tracking.search_traces(locations=[number])[0]] == ["tr-2"]
    with pytest.raises(MlflowException, match="not found"):
        a.tracking.get_trace_info("tr-1")


def test_evaluation_data_sets_with_their_records(two) -> None:
    a, b, number = two
    made = a.tracking.create_dataset("queries", {"k": "v"}, [number])
    a.tracking.upsert_dataset_records(made.dataset_id, [{"inputs": {"q": str(i)}} for i in range(3)])
    a.flush()
    found = b.tracking.get_dataset(made.dataset_id)
    assert (found.name, found.tags.items() >= {"k": "v"}.items()) == ("queries", True)
    records, _ = b.tracking._load_dataset_records(made.dataset_id)
    assert sorted(r.inputs["q"] for r in records) == ["0", "1", "2"]
    b.tracking.delete_dataset(made.dataset_id)
    b.flush()
    a.refresh()
    with pytest.raises(MlflowException, match="not found"):
        a.tracking.get_dataset(made.dataset_id)


def test_issues(two) -> None:
    a, b, number = two
    made = a.tracking.create_issue(number, "blurred captures", "half of them")
    a.flush()
    assert b.tracking.get_issue(made.issue_id).name == "blurred captures"


def test_two_experiments_of_one_name_that_met_are_told_apart_alike_everywhere(two, caplog) -> None:
    a, b, first = two
    second = b.tracking.create_experiment("trials")
    b.flush()
    a.refresh()
    # Each renames its own while it has not heard of the other.
    for each in (a, b):
        each.sync.ensure_fresh = lambda *_: None
    a.tracking.rename_experiment(first, "final")
    b.tracking.rename_experiment(second, "final")
    a.flush()
    b.flush()
    for each in (a, b, a):
        each.refresh()
        each.flush()
    later = str(max(int(first), int(second)))
    expected = {first: "final", second: "final", later: f"final ~{later}"}
    for each in (a, b):
        assert {n: each.tracking.get_experiment(n).name for n in (first, second)} == expected
