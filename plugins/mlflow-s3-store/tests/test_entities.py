"""MLflow's other entities (traces, evaluation data sets, issues) are shared too, without code of their own."""

import pytest
from mlflow.entities import Expectation, Feedback, TraceInfo, TraceLocation, TraceState
from mlflow.entities.assessment import AssessmentSource
from mlflow.exceptions import MlflowException


@pytest.fixture
def two(machine):
    a, b = machine("a"), machine("b")
    return a, b, a.tracking.create_experiment("cards")


def add_trace(store, number: str, identity: str = "tr-1") -> TraceInfo:
    location = TraceLocation.from_experiment_id(number)
    return store.start_trace(
        TraceInfo(identity, location, 1000, TraceState.OK, "asked", "answered", None, 5, {"k": "v"}, {"t": "1"})
    )


def test_traces_are_shared_with_tags_and_assessments(two) -> None:
    a, b, number = two
    add_trace(a.tracking, number)
    a.tracking.set_trace_tag("tr-1", "more", "2")
    source = AssessmentSource("HUMAN", "ash")
    a.tracking.create_assessment(Feedback(name="right", value=True, source=source, trace_id="tr-1"))
    a.tracking.create_assessment(Expectation(name="card", value="base1-4", source=source, trace_id="tr-1"))
    a.flush()

    trace = b.tracking.get_trace_info("tr-1")
    assert (trace.request_preview, trace.response_preview, trace.execution_duration) == ("asked", "answered", 5)
    assert trace.tags.items() >= {"t": "1", "more": "2"}.items()
    assert trace.trace_metadata.items() >= {"k": "v"}.items()
    assert {each.name for each in trace.assessments} == {"right", "card"}
    (listed,), _ = b.tracking.search_traces(locations=[number])
    assert listed.trace_id == "tr-1"


def test_deleted_trace_is_deleted_on_both_machines(two) -> None:
    a, b, number = two
    add_trace(a.tracking, number)
    add_trace(a.tracking, number, "tr-2")
    a.flush()
    assert len(b.tracking.search_traces(locations=[number])[0]) == 2
    b.tracking.delete_traces(number, trace_ids=["tr-1"])
    b.flush()
    assert [t.trace_id for t in a.tracking.search_traces(locations=[number])[0]] == ["tr-2"]
    with pytest.raises(MlflowException, match="not found"):
        a.tracking.get_trace_info("tr-1")


@pytest.mark.slow
def test_evaluation_data_sets_are_shared_with_records(two) -> None:
    a, b, number = two
    created = a.tracking.create_dataset("queries", {"k": "v"}, [number])
    a.tracking.upsert_dataset_records(created.dataset_id, [{"inputs": {"q": str(i)}} for i in range(3)])
    a.flush()
    shared = b.tracking.get_dataset(created.dataset_id)
    assert (shared.name, shared.tags.items() >= {"k": "v"}.items()) == ("queries", True)
    records, _ = b.tracking._load_dataset_records(created.dataset_id)
    assert sorted(r.inputs["q"] for r in records) == ["0", "1", "2"]
    b.tracking.delete_dataset(created.dataset_id)
    b.flush()
    a.refresh()
    with pytest.raises(MlflowException, match="not found"):
        a.tracking.get_dataset(created.dataset_id)


def test_issues_are_shared(two) -> None:
    a, b, number = two
    issue = a.tracking.create_issue(number, "blurred captures", "half of them")
    a.flush()
    assert b.tracking.get_issue(issue.issue_id).name == "blurred captures"


def test_clashing_experiment_names_resolve_the_same_everywhere(two, caplog) -> None:
    a, b, first = two
    second = b.tracking.create_experiment("trials")
    b.flush()
    a.refresh()
    # Each machine renames its experiment before it has read the other's change.
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
