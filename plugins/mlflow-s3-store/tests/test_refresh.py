"""Working copies are refreshed from the bucket without losing or reverting local changes."""

import sqlite3

import msgspec
import pytest
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from mlflow_s3_store import _refresh as refresh
from mlflow_s3_store import _synchronizer as synchronizer
from mlflow_s3_store._stores import S3RegistryStore, S3TrackingStore


@pytest.fixture
def two(machine):
    a, b = machine("a"), machine("b")
    return a, b, a.tracking.create_experiment("cards")


def start(machine, number: str, name: str = "run") -> str:
    return str(machine.tracking.create_run(number, "ash", 0, [], name).info.run_id)


def names(machine) -> dict[str, str]:
    return {e.experiment_id: e.name for e in machine.tracking.search_experiments() if e.name != "Default"}


def test_swapped_experiment_names_are_read_correctly(two) -> None:
    a, b, first = two
    second = a.tracking.create_experiment("candidate")
    assert names(b) == {first: "cards", second: "candidate"}
    a.tracking.rename_experiment(first, "previous")
    a.tracking.rename_experiment(second, "cards")
    a.tracking.rename_experiment(first, "candidate")
    assert names(b) == {first: "candidate", second: "cards"}
    assert b.copy.is_clean()  # a refresh leaves nothing to publish


def test_refresh_does_not_revert_a_concurrent_publication(two, monkeypatch) -> None:
    a, b, number = two
    run = start(a, number)
    a.flush()
    b.refresh()
    a.tracking.set_tag(run, RunTag("from", "a"))
    a.flush()
    read = refresh._read

    def meanwhile(*args):
        document = read(*args)
        monkeypatch.setattr(refresh, "_read", read)
        b.tracking.set_tag(run, RunTag("from", "b"))
        b.flush()
        return document

    monkeypatch.setattr(refresh, "_read", meanwhile)
    refresh.refresh_unit(b.sync.replica, "runs", run)
    assert b.tracking.get_run(run).data.tags["from"] == "b"


def test_each_store_method_has_a_matching_refresher(two) -> None:
    for store in (S3TrackingStore, S3RegistryStore):
        for name in dir(store):
            if not name.startswith("_"):
                assert callable(synchronizer.refresher_for(name))
    looks = {
        name: synchronizer.refresher_for(name) for name in ("log_metric", "start_trace", "get_run", "list_scorers")
    }
    assert looks["log_metric"] is looks["start_trace"] is synchronizer._refresh_nothing
    assert looks["get_run"] is synchronizer._refresh_run
    assert looks["list_scorers"] is synchronizer._refresh_rest


def test_deleting_an_experiment_deletes_runs_of_other_machines(two) -> None:
    a, b, number = two
    b.refresh()
    run = start(a, number)
    a.flush()
    b.tracking.delete_experiment(number)
    b.flush()
    assert a.tracking.get_run(run).info.lifecycle_stage == "deleted"


@pytest.mark.slow
def test_unreachable_bucket_is_not_contacted_for_every_query(two, s3) -> None:
    a, _, _ = two
    a.flush()
    s3.faults(cut=1.0)
    a.sync.replica.objects.connection.client.meta.config.retries["total_max_attempts"] = 1
    before = sum(s3.counts()["requests"].values())
    for _ in range(5):
        assert a.tracking.search_experiments()
        a.tracking.search_runs(list(names(a)), "", 1)
    requests = sum(s3.counts()["requests"].values()) - before
    assert requests <= 12  # one query with its retries


@pytest.mark.parametrize("what", ["all of it", "one run"])
def test_run_removed_from_the_bucket_is_dropped_unless_changed(two, what) -> None:
    a, b, number = two
    kept, changed = start(a, number), start(a, number)
    a.flush()
    b.refresh()
    b.tracking.set_tag(changed, RunTag("t", "1"))
    objects = a.sync.replica.objects
    for entry in list(objects.list("")):
        if what == "all of it" or kept in entry.key:
            objects.delete(entry.key)
    for each in (a, b, a):
        each.refresh()
        each.flush()

    with pytest.raises(MlflowException, match="not found"):
        a.tracking.get_run(kept)
    assert a.tracking.get_run(changed).data.tags.get("t") == "1"
    assert names(a) == names(b) == {number: "cards"}


def corrupt(machine, run: str, **columns: object) -> None:
    """Overwrite columns in a run's document, as a foreign program might."""
    known = machine.copy.last_seen("runs", run)
    text = msgspec.json.decode(known.body) | columns
    objects = machine.sync.replica.objects
    objects.write(known.path.document, msgspec.json.encode(text), match=None)
    objects.write(known.path.index, b"another", match=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "columns",
    [
        {"start_time": 2**70},
        {"start_time": "soon"},
        {"end_time": 1e308},
        {"run_uuid": "another"},
        {"status": "WONDERFUL"},
        {"experiment_id": "x' OR 1"},
        {"tags": [["not", "rows"]]},
        {"tags": {"a": {"value": 5}}},
        {"latest_metrics": {"m": "x"}},
        {"pokeflow": {"kind": "experiments", "format": 1, "id": "0"}},
        {"name": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")},
    ],
)
def test_malformed_document_does_not_affect_other_runs(two, columns, caplog) -> None:
    a, b, number = two
    bad, good = start(a, number, "bad"), start(a, number, "good")
    a.flush()
    corrupt(a, bad, **columns)
    a.tracking.log_metric(good, Metric("m", 1.0, 1, 1))
    a.flush()
    run_names = {r.info.run_name for r in b.tracking.search_runs([number], "", 1)}
    assert "good" in run_names
    assert b.tracking.get_run(good).data.metrics == {"m": 1.0}
    assert names(b) == {number: "cards"}


def test_malformed_document_does_not_block_other_publications(two) -> None:
    a, b, number = two
    bad = start(a, number)
    a.flush()
    corrupt(a, bad, status="WONDERFUL")
    a.tracking.set_tag(bad, RunTag("t", "1"))
    good = start(a, number)
    assert not a.sync.flusher.flush()
    assert b.tracking.get_run(good)


def test_binary_parameter_file_does_not_block_publication(two) -> None:
    a, b, number = two
    run = start(a, number)
    a.flush()
    where = a.copy.last_seen("runs", run).path
    a.sync.replica.objects.write(where.part("params", "p"), b"\xff\xfe", match=None)
    a.tracking.log_param(run, type("Param", (), {"key": "p", "value": "1"})())
    a.flush()
    assert b.tracking.get_run(run).data.params["p"]


def test_flusher_logs_an_unexpected_error_and_continues(two, monkeypatch, caplog) -> None:
    a, _, number = two
    flusher = a.sync.flusher
    monkeypatch.setattr("mlflow_s3_store._flusher.publish", lambda *_: 1 / 0)
    start(a, number)
    assert not flusher.round()
    assert "division by zero" in caplog.text
    monkeypatch.undo()


def test_locked_working_copy_is_not_treated_as_damaged(uri, machine, cache, monkeypatch) -> None:
    a = machine("a")
    start(a, a.tracking.create_experiment("cards"))
    monkeypatch.setattr("mlflow_s3_store._working_copy.BUSY_SECONDS", 0.1)
    with sqlite3.connect(a.copy.file, isolation_level=None) as other:
        other.execute("DROP TRIGGER pokeflow_latest")  # opening must create it again
        other.execute("BEGIN IMMEDIATE")
        synchronizer.synchronizer.cache_clear()
        with pytest.raises(MlflowException, match=r"database is locked\. Nothing in it is lost"):
            S3TrackingStore(uri)
        other.execute("ROLLBACK")
    assert not list(a.copy.file.parent.glob("*.damaged*"))
    assert S3TrackingStore(uri).synchronizer.replica.copy.marks()


def test_creation_fails_if_it_cannot_be_published(two, monkeypatch) -> None:
    a, b, _ = two
    a.registry.create_registered_model("net")
    b.refresh()
    monkeypatch.setattr(b.sync.flusher, "publish_now", lambda *_: False)
    for call in (
        lambda: b.registry.create_model_version("net", "s3://x"),
        lambda: b.registry.create_registered_model("other"),
    ):
        with pytest.raises(MlflowException, match="the bucket is not writable at the moment") as caught:
            call()
        assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"
    monkeypatch.undo()
    b.flush()
    assert [m.name for m in a.registry.search_registered_models()] == ["net"]
    assert a.registry.search_model_versions("name = 'net'") == []


def test_version_edited_after_a_kill_is_not_duplicated(two, monkeypatch) -> None:
    a, b, _ = two
    a.registry.create_registered_model("net")
    a.registry.create_model_version("net", "s3://x")
    a.flush()
    # The state after a kill between writing the document and recording that it was written.
    with a.copy.importing() as database:
        known = a.copy.last_seen("registered_models", "default\x1fnet")
        text = msgspec.json.decode(known.body)
        text["model_versions"] = []
        body = msgspec.json.encode(text)
        database.execute("UPDATE pokeflow_units SET body = ?, etag = 'old' WHERE kind = 'registered_models'", (body,))
    a.registry.update_model_version("net", "1", "edited")
    a.flush()
    versions = b.registry.search_model_versions("name = 'net'")
    assert [(int(v.version), v.description) for v in versions] == [(1, "edited")]
