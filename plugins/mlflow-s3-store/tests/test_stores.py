"""Two machines that share a bucket prefix see the same data as with MLflow on one database."""

import math
import time
from typing import Any

import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from mlflow_s3_store._stores import S3TrackingStore


def start(machine: Any, experiment: str = "cards", **tags: str) -> str:
    """Create a run in an experiment, which is created if it is missing."""
    store = machine.tracking
    existing = store.get_experiment_by_name(experiment)
    number = existing.experiment_id if existing else store.create_experiment(experiment)
    run = store.create_run(number, "ash", 1000, [RunTag(*pair) for pair in tags.items()], "a run")
    return str(run.info.run_id)


def end(machine: Any, run: str) -> None:
    machine.tracking.update_run_info(run, RunStatus.FINISHED, 2000, None)


@pytest.mark.slow
def test_another_machine_reads_all_data_of_a_finished_run(machine) -> None:
    a, b = machine("a"), machine("b")
    run = start(a, kind="first")
    a.tracking.log_batch(
        run, [Metric("loss", 0.5, 10, 1), Metric("loss", 0.25, 20, 2)], [Param("lr", "0.1")], [RunTag("t", "v")]
    )
    end(a, run)

    experiment = b.tracking.get_experiment_by_name("cards")
    (result,) = b.tracking.search_runs([experiment.experiment_id], "", ViewType.ACTIVE_ONLY)
    assert result.info.run_id == run
    assert (result.info.status, result.info.start_time, result.info.end_time) == ("FINISHED", 1000, 2000)
    assert result.data.params == {"lr": "0.1"}
    assert result.data.metrics == {"loss": 0.25}
    assert result.data.tags.items() >= {"t": "v", "kind": "first"}.items()
    assert [(m.step, m.value, m.timestamp) for m in b.tracking.get_metric_history(run, "loss")] == [
        (1, 0.5, 10),
        (2, 0.25, 20),
    ]


def test_search_sorts_and_filters_runs_of_other_machines(machine) -> None:
    a, b = machine("a"), machine("b")
    runs = [start(a) for _ in range(3)]
    for i, run in enumerate(runs):
        a.tracking.log_batch(run, [Metric("acc", i / 10, 1, 0)], [Param("n", str(i))], [])
    a.flush()

    number = b.tracking.get_experiment_by_name("cards").experiment_id
    matches = b.tracking.search_runs(
        [number], "metrics.acc > 0.05", ViewType.ACTIVE_ONLY, order_by=["metrics.acc DESC"]
    )
    assert [run.data.params["n"] for run in matches] == ["2", "1"]


def test_artifacts_are_stored_in_the_run_folder(machine, uri) -> None:
    run = machine("a").tracking.get_run(start(machine("a"), "pokemon-card-student-distillation-stage1"))
    home = f"{uri}/pokemon-card-student-distillation/stage1/run_{run.info.run_id}"
    assert run.info.artifact_uri == f"{home}/artifacts"


def test_explicit_artifact_location_of_an_experiment_is_kept(machine) -> None:
    store = machine("a").tracking
    number = store.create_experiment("elsewhere", "s3://another/place")
    run = store.create_run(number, "ash", 0, [], "run")
    assert run.info.artifact_uri == f"s3://another/place/{run.info.run_id}/artifacts"


@pytest.mark.parametrize(("root", "home"), [("s3://other/root", "s3://other/root"), ("mlflow-artifacts:/", None)])
def test_server_artifact_root_is_used_unless_it_is_a_proxy(machine, uri, root, home) -> None:
    machine("a")
    store = S3TrackingStore(uri, root)
    number = store.create_experiment("cards")
    assert store.get_experiment(number).artifact_location == f"{home or uri}/cards"


def test_second_machine_cannot_create_the_same_experiment(machine) -> None:
    a, b = machine("a"), machine("b")
    a.tracking.create_experiment("cards")
    with pytest.raises(MlflowException, match="already exists") as caught:
        b.tracking.create_experiment("cards")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert b.tracking.get_experiment_by_name("cards").experiment_id


def test_name_of_a_renamed_experiment_can_be_reused(machine) -> None:
    a, b = machine("a"), machine("b")
    first = a.tracking.create_experiment("cards", tags=[ExperimentTag("k", "v")])
    a.tracking.rename_experiment(first, "old cards")
    second = b.tracking.create_experiment("cards")

    assert first != second
    names = {e.experiment_id: e.name for e in a.tracking.search_experiments()}
    assert names == {"0": "Default", first: "old cards", second: "cards"}
    assert b.tracking.get_experiment(first).tags == {"k": "v"}
    homes = {a.tracking.get_experiment(e).artifact_location.rpartition("/")[2] for e in (first, second)}
    assert homes == {"cards", "cards~2"}


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_deletions_and_restores_reach_other_machines(machine, what) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    number = a.tracking.get_run(run).info.experiment_id
    a.flush()
    identity = run if what == "run" else number
    stage = {
        "run": lambda m: m.tracking.get_run(run).info.lifecycle_stage,
        "experiment": lambda m: m.tracking.get_experiment(number).lifecycle_stage,
    }[what]
    assert stage(b) == "active"

    getattr(a.tracking, f"delete_{what}")(identity)
    assert stage(b) == "deleted"
    getattr(b.tracking, f"restore_{what}")(identity)
    assert stage(a) == "active"


def test_hard_deleted_run_leaves_only_its_document(machine, s3) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    a.tracking.log_batch(run, [Metric("m", 1, 1, 1)], [Param("p", "1")], [])
    a.flush()
    assert b.tracking.get_run(run)

    a.tracking.delete_run(run)
    a.tracking._hard_delete_run(run)
    a.flush()

    keys = [o["Key"] for o in s3.client().list_objects_v2(Bucket=s3.name)["Contents"] if f"run_{run}" in o["Key"]]
    assert [key.rpartition("/")[2] for key in keys] == ["meta.yaml"]
    b.refresh()
    with pytest.raises(MlflowException, match="not found"):
        b.tracking.get_run(run)


def test_tag_changes_of_both_machines_are_merged(machine) -> None:
    a, b = machine("a"), machine("b")
    run = start(a, both="0", gone="1", stays="1")
    a.flush()
    b.tracking.get_run(run)

    a.tracking.set_tag(run, RunTag("from a", "1"))
    a.tracking.delete_tag(run, "gone")
    b.tracking.set_tag(run, RunTag("from b", "1"))
    b.tracking.set_tag(run, RunTag("both", "b"))
    a.flush()
    b.flush()

    expected = {"from a": "1", "from b": "1", "both": "b", "stays": "1", "mlflow.runName": "a run"}
    assert a.tracking.get_run(run).data.tags == expected
    assert b.tracking.get_run(run).data.tags == expected


def test_metric_points_of_both_machines_form_one_history(machine) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    a.flush()
    for step in range(6):
        (a, b)[step % 2].tracking.log_metric(run, Metric("loss", float(step), step, step))
    b.flush()
    a.flush()
    a.tracking.log_metric(run, Metric("loss", 6.0, 6, 6))
    a.flush()

    for each in (a, b):
        history = each.tracking.get_metric_history(run, "loss")
        assert sorted(m.step for m in history) == list(range(7))
        assert each.tracking.get_run(run).data.metrics == {"loss": 6.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-300, -0.0, 12345678901234567.0])
def test_special_floats_are_stored_as_in_a_database(machine, value) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    a.tracking.log_metric(run, Metric("m", value, 5, 7))
    a.flush()

    (mine,), (theirs,) = (x.tracking.get_metric_history(run, "m") for x in (a, b))
    assert repr(mine.value) == repr(theirs.value)
    assert repr(b.tracking.get_run(run).data.metrics["m"]) == repr(a.tracking.get_run(run).data.metrics["m"])


def test_first_published_parameter_wins_with_a_warning(machine, caplog) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    a.flush()
    b.tracking.get_run(run)
    a.tracking.log_param(run, Param("lr", "0.1"))
    b.tracking.log_param(run, Param("lr", "0.2"))
    b.tracking.log_param(run, Param("other", "1"))
    a.flush()
    b.flush()

    assert b.tracking.get_run(run).data.params == {"lr": "0.1", "other": "1"}
    assert a.tracking.get_run(run).data.params == {"lr": "0.1", "other": "1"}
    assert "parameter lr was logged by another machine first" in caplog.text


def test_run_of_another_machine_can_be_logged_to(machine) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    a.flush()
    b.tracking.log_metric(run, Metric("loss", 1.0, 1, 1))
    b.flush()
    assert a.tracking.get_run(run).data.metrics == {"loss": 1.0}


def test_data_set_logged_by_both_machines_is_stored_once(machine) -> None:
    a, b = machine("a"), machine("b")
    first, second = start(a), None
    a.flush()
    second = start(b)
    cards = Dataset("cards", "d1", "local", "{}", "schema", "profile")
    for each, run in ((a, first), (b, second)):
        each.tracking.log_inputs(run, [DatasetInput(cards, [InputTag("context", "training")])])
    a.flush()
    b.flush()

    for each in (a, b):
        for run in (first, second):
            (logged,) = each.tracking.get_run(run).inputs.dataset_inputs
            assert (logged.dataset.name, logged.dataset.profile) == ("cards", "profile")
            assert [(t.key, t.value) for t in logged.tags] == [("context", "training")]
        number = each.tracking.get_experiment_by_name("cards").experiment_id
        assert [d.name for d in each.tracking._search_datasets([number])] == ["cards"]


def test_logged_models_are_shared_with_their_runs(machine) -> None:
    a, b = machine("a"), machine("b")
    run = start(a)
    number = a.tracking.get_run(run).info.experiment_id
    model = a.tracking.create_logged_model(
        number, "net", run, [LoggedModelTag("k", "v")], [LoggedModelParameter("p", "1")], "student"
    )
    a.tracking.log_outputs(run, [LoggedModelOutput(model.model_id, 3)])
    a.tracking.log_inputs(run, models=[LoggedModelInput(model.model_id)])
    a.tracking.log_metric(run, Metric("acc", 0.5, 1, 3, model_id=model.model_id, run_id=run))
    a.tracking.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    a.flush()

    (result,) = b.tracking.search_logged_models([number])
    assert (result.name, result.status, result.model_type, result.source_run_id) == (
        "net",
        LoggedModelStatus.READY,
        "student",
        run,
    )
    assert (result.tags, result.params) == ({"k": "v"}, {"p": "1"})
    assert [(m.key, m.value) for m in result.metrics] == [("acc", 0.5)]
    there = b.tracking.get_run(run)
    assert [(o.model_id, o.step) for o in there.outputs.model_outputs] == [(model.model_id, 3)]
    assert [i.model_id for i in there.inputs.model_inputs] == [model.model_id]
    b.tracking.delete_logged_model(model.model_id)
    b.flush()
    assert a.tracking.search_logged_models([number]) == []


def test_registered_models_are_shared_with_versions_and_aliases(machine) -> None:
    a, b = machine("a"), machine("b")
    a.registry.create_registered_model("net", [RegisteredModelTag("k", "v")], "a network")
    first = a.registry.create_model_version("net", "s3://x/1", tags=[ModelVersionTag("digest", "d")], description="one")
    a.registry.set_registered_model_alias("net", "approved", first.version)

    version = b.registry.get_model_version_by_alias("net", "approved")
    assert (int(version.version), version.tags, version.description) == (1, {"digest": "d"}, "one")
    assert b.registry.get_registered_model("net").tags == {"k": "v"}
    assert [m.name for m in b.registry.search_registered_models()] == ["net"]
    b.registry.rename_registered_model("net", "network")
    assert [m.name for m in a.registry.search_registered_models()] == ["network"]
    assert int(a.registry.get_model_version_by_alias("network", "approved").version) == 1
    a.registry.delete_registered_model("network")
    assert b.registry.search_registered_models() == []


def test_second_machine_cannot_register_the_same_model(machine, monkeypatch) -> None:
    a, b = machine("a"), machine("b")
    # Both check the name before either has published.
    monkeypatch.setattr(b.sync, "ensure_fresh", lambda *_: None)
    a.registry.create_registered_model("net")
    time.sleep(0.002)  # names are distinguished by their creation time in milliseconds
    with pytest.raises(MlflowException, match="already exists"):
        b.registry.create_registered_model("net")


def test_concurrent_versions_get_distinct_numbers(machine, monkeypatch) -> None:
    a, b = machine("a"), machine("b")
    a.registry.create_registered_model("net")
    b.refresh()
    monkeypatch.setattr(b.sync, "ensure_fresh", lambda *_: None)
    first = a.registry.create_model_version("net", "s3://from/a", tags=[ModelVersionTag("by", "a")])
    second = b.registry.create_model_version("net", "s3://from/b", tags=[ModelVersionTag("by", "b")])

    assert (int(first.version), int(second.version)) == (1, 2)
    assert second.tags == {"by": "b"}
    versions = {int(v.version): (v.source, v.tags) for v in a.registry.search_model_versions("name = 'net'")}
    assert versions == {1: ("s3://from/a", {"by": "a"}), 2: ("s3://from/b", {"by": "b"})}


@pytest.mark.slow
def test_deleted_model_can_be_registered_again(machine) -> None:
    a, b = machine("a"), machine("b")
    for machine_ in (a, b, a):
        machine_.registry.create_registered_model("net")
        machine_.registry.create_model_version("net", "s3://x")
        machine_.registry.delete_registered_model("net")
    assert b.registry.search_registered_models() == []
    b.registry.create_registered_model("net", description="again")
    assert a.registry.get_registered_model("net").description == "again"


def test_latest_metric_value_never_reverts(machine) -> None:
    a = machine("a")
    run = start(a)
    a.tracking.log_metric(run, Metric("m", 2.0, 2, 2))
    with a.copy.importing() as database:
        # A write by a process that had read an older state.
        database.execute("UPDATE latest_metrics SET step = 1, timestamp = 1, value = 1")
    assert a.tracking.get_run(run).data.metrics == {"m": 2.0}
