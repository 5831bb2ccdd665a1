"""Share results through a bucket, so that machines fetch them and each is made once."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pokeflow
from pokeflow.digest import content
from pokeflow.engine import RunResult
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow
from pokeflow.objects import ObjectStore
from pokeflow.objects._folder import Folder
from pokeflow.store import _local as local
from pokeflow.store import _remote as remote
from pokeflow.store._local import Store, list_files, open_for_flow
from pokeflow.types import File, Record, RemoteStore
from pokeflow_testkit.records import build_record
from pokeflow_testkit.support import TOY_MODELS, build_flow

Machine = Callable[..., Flow]


@pytest.fixture
def bucket(tmp_path: Path) -> ObjectStore:
    (tmp_path / "bucket").mkdir()
    return Folder(tmp_path / "bucket")


@pytest.fixture
def machine(tmp_path: Path, bucket: ObjectStore) -> Machine:
    """Return a function that builds the toy flow for a machine; all share the bucket. ``lr`` is the student's."""

    def on(name: str, lr: float = 0.1, **changes: Any) -> Flow:
        models = {**TOY_MODELS, "student": TOY_MODELS["student"].changed(lr=lr)}
        return build_flow(tmp_path / name, models, remote_store=RemoteStore(bucket.uri), **changes)

    return on


def run(flow: Flow) -> RunResult:
    return pokeflow.run(flow)


class ReadOnly(Folder):
    """A bucket that loses its network whenever something is sent to it."""

    def upload(self, *args: object, **kwargs: object) -> None:
        raise PokeflowError("the network is away")


def test_results_of_one_machine_are_reused_by_another(machine: Machine) -> None:
    first, second = run(machine("a")), run(machine("b"))
    assert len(first.ran) == 9
    assert second.ran == ()
    assert second.records == first.records


def test_inputs_of_another_machine_are_fetched_when_needed(machine: Machine) -> None:
    run(machine("a"))
    other = machine("b", lr=0.7)
    done = run(other)
    assert "train:teacher" not in done.ran
    assert "distill:student" in done.ran
    teacher = open_for_flow(other).folder(other.step("train:teacher"))
    assert (teacher / "model.txt").is_file()
    assert not (open_for_flow(other).folder(other.step("register:teacher"))).exists()


def test_record_is_uploaded_after_its_files(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    record = run(flow).records["train:teacher"]
    path = open_for_flow(flow).key(flow.step("train:teacher"))
    keys = {entry.key.removeprefix(f"{path}/"): entry for entry in bucket.list(f"{path}/")}
    assert set(keys) == {"log.txt", "model.txt", "record.json", "telemetry/run.yaml"}
    assert keys["record.json"].modified >= keys["model.txt"].modified
    assert remote.load(bucket, path) == record


def test_result_damaged_in_the_bucket_is_refused(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    run(flow)
    path = open_for_flow(flow).key(flow.step("train:teacher"))
    bucket.write(f"{path}/model.txt", b"not what was made", match=None)
    with pytest.raises(PokeflowError, match="distill:student failed"):
        run(machine("b", lr=0.7))


def test_a_lost_network_loses_nothing(
    machine: Machine, bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = machine("a")
    with monkeypatch.context() as network:
        network.setattr(local, "open_remote_store", lambda *_, **__: ReadOnly(tmp_path / "bucket"))
        away = run(flow)
    assert len(away.ran) == 9
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) is None
    assert run(flow).ran == ()
    assert run(machine("b")).records == away.records


def test_earlier_results_are_shared_once_a_bucket_is_set(machine: Machine) -> None:
    local_run = run(replace(machine("a"), remote_store=None))
    assert run(machine("a")).ran == ()
    assert run(machine("b")).records == local_run.records


def test_an_older_result_does_not_replace_a_newer_one(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    run(replace(flow, remote_store=None))
    newer = run(machine("b"))
    run(flow)
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) == newer.records["train:teacher"]


def test_interrupted_fetch_does_not_mix_two_results(machine: Machine, bucket: ObjectStore) -> None:
    flow = machine("a")
    old = run(flow).records["train:teacher"]
    other = open_for_flow(machine("b"))
    draft = other.work(old) / f"fetched-{old.content}"
    draft.mkdir(parents=True)
    size = old.files[0].size
    (draft / "model.txt").write_bytes(b"x" * size)  # of another attempt, for another content
    newer = replace(old, content="another", finished="9999")
    bucket.write(f"{other.key(old)}/record.json", remote.encode_record(newer), match=None)
    assert (other.fetch(newer) / "model.txt").read_bytes() != b"x" * size


@pytest.mark.parametrize(
    "change",
    [{"digest": "../../victim"}, {"stage": ".."}, {"model": "other"}, {"files": (File("../x", 1, "a"),)}],
)
def test_record_of_another_task_or_path_is_rejected(
    machine: Machine, bucket: ObjectStore, change: dict[str, object]
) -> None:
    flow = machine("a")
    record = run(flow).records["compile:tiny"]
    path = open_for_flow(flow).key(record)
    bucket.write(f"{path}/record.json", remote.encode_record(replace(record, **change)), match=None)  # type: ignore[arg-type]
    assert remote.load(bucket, path) is None
    assert list(open_for_flow(machine("b")).shared_records("compile")) == []


def test_forced_redo_replaces_the_shared_result(machine: Machine, bucket: ObjectStore) -> None:
    run(machine("a"))
    flow = machine("a", force=["teacher"])
    again = run(flow)
    assert remote.load(bucket, open_for_flow(flow).key(flow.step("train:teacher"))) == again.records["train:teacher"]


def test_records_of_other_machines_are_listed_and_fetched(machine: Machine) -> None:
    run(machine("a"))
    other = open_for_flow(machine("b"))
    assert [record.model for record in other.shared_records("compile")] == ["tiny"]
    (record,) = other.shared_records("compile")
    assert (other.fetch(record) / "model.txt").is_file()


STEP_RECORD = build_record("train:m", seconds=0.0)


@pytest.fixture
def store_of(tmp_path: Path) -> Callable[..., Store]:
    """Return a function that opens the store of a machine; ``bucket`` names its bucket."""

    def open_store(name: str, bucket: str = "bucket") -> Store:
        return Store(tmp_path / name, Folder(tmp_path / bucket))

    return open_store


def commit(store: Store, text: str = "weights", **changes: Any) -> Record:
    record = replace(STEP_RECORD, **changes)
    output = store.work(record) / "output"
    output.mkdir(parents=True)
    (output / "model.txt").write_text(text)
    files = list_files(output)
    record = replace(record, files=files, content=content(files))
    store.commit(output, record)
    return record


def test_local_result_needs_no_bucket(store_of, monkeypatch) -> None:
    store = store_of("a")
    record = commit(store)
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("the bucket was read"))
    monkeypatch.setattr(local, "file_lock", lambda *_: pytest.fail("nobody is waited for"))
    assert store.load(record) == record
    assert store.fetch(record) == store.folder(record)


def test_shared_result_is_marked_with_its_bucket_and_run(store_of, tmp_path) -> None:
    store = store_of("a")
    record = commit(store)
    mark = json.loads((store.folder(record) / "shared.json").read_text())
    assert mark == {"where": (tmp_path / "bucket").as_uri(), "started": record.started}


@pytest.mark.parametrize("mark", [None, b"{", b"{}", b'{"where": "file:///other", "started": "2026-01-01T00:00:00"}'])
def test_a_result_without_a_mark_of_this_bucket_and_run_is_sent(store_of, mark) -> None:
    store = store_of("a")
    record = commit(store)
    file = store.folder(record) / "shared.json"
    file.unlink()
    if mark is not None:
        file.write_bytes(mark)
    store.remote.delete(f"{record.path}/record.json")
    store.upload(record)
    assert remote.load(store.remote, record.path) == record
    assert json.loads(file.read_text())["started"] == record.started


def test_a_result_with_its_mark_is_not_sent_again(store_of, monkeypatch) -> None:
    store = store_of("a")
    record = commit(store)
    for name in ("read", "write", "upload"):
        monkeypatch.setattr(Folder, name, lambda *_, **__: pytest.fail("the bucket was asked"))
    store.upload(record)


def test_a_mark_of_an_earlier_run_is_no_mark_of_this_one(store_of) -> None:
    store = store_of("a")
    record = commit(store)
    assert store._is_uploaded(record)
    assert not store._is_uploaded(replace(record, started="2026-02-02"))


def test_result_shared_in_another_bucket_is_sent_to_this_one(store_of) -> None:
    record = commit(store_of("a"))
    other = store_of("a", "other")
    other.upload(record)
    assert remote.load(other.remote, record.path) == record


def test_missing_result_is_not_sent(store_of) -> None:
    store = store_of("a")
    store.upload(STEP_RECORD)
    assert list(store.remote.list()) == []


def test_store_without_a_bucket_shares_nothing(tmp_path) -> None:
    store = Store(tmp_path)
    record = commit(store)
    store.upload(record)
    assert not (store.folder(record) / "shared.json").exists()
    assert store.load(replace(record, digest="f" * 16)) is None
    assert list(store.shared_records("train")) == [record]
    assert store.fetch(record) == store.folder(record)


def test_network_error_while_sharing_is_reported_and_retried(store_of, caplog, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PokeflowError("no network")

    store = store_of("a")
    with monkeypatch.context() as network:
        network.setattr(Folder, "upload", fail)
        record = commit(store)
        assert caplog.messages == ["train:m is stored locally, and a later run uploads it: no network"]
        caplog.clear()
        network.setattr(Folder, "write", fail)
        store.upload(record)
    assert caplog.messages == ["train:m is stored locally, and a later run uploads it: no network"]
    assert not (store.folder(record) / "shared.json").exists()
    store.upload(record)
    assert remote.load(store.remote, record.path) == record


def test_result_is_leased_only_while_it_is_sent(store_of, monkeypatch) -> None:
    store, leases = store_of("a"), []
    record = commit(replace(store, remote=None))
    upload = Folder.upload

    def look(self: Folder, *args: Any, **options: Any) -> None:
        leases.extend(entry.key for entry in self.list("leases/"))
        upload(self, *args, **options)

    monkeypatch.setattr(Folder, "upload", look)
    store.upload(record)
    assert leases == [f"leases/{record.digest}"]
    assert list(store.remote.list("leases/")) == []


def test_a_task_is_leased_in_the_bucket_and_on_this_machine(store_of, tmp_path) -> None:
    store = store_of("a")
    flow = build_flow(tmp_path / "a", TOY_MODELS, only=["teacher"], stages=["train"])
    with store.hold_lease(flow.steps[0]) as lease:
        assert [entry.key for entry in store.remote.list("leases/")] == [f"leases/{flow.steps[0].digest}"]
        assert (tmp_path / "a" / "locks" / f"{flow.steps[0].digest}.lock").exists()
        assert lease.label == "train:teacher"


def test_fetched_result_replaces_a_damaged_one(store_of) -> None:
    record = commit(store_of("a"))
    other = store_of("b")
    folder = other.folder(record)
    folder.mkdir(parents=True)
    (folder / "left-over").write_text("")
    (folder / "tracked.json").write_text("{}")
    (folder / "record-20250101.json").write_bytes(remote.encode_record(record))
    assert other.fetch(record) == folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.txt",
        "record-20250101.json",
        "record.json",
        "tracked.json",
    ]
    assert other.load(record) == record


def test_result_fetched_by_another_process_is_not_refetched(store_of, monkeypatch) -> None:
    record = commit(store_of("a"))
    other = store_of("b")
    lock = local.file_lock

    @contextmanager
    def after_another_process(*args: Any) -> Iterator[None]:
        with monkeypatch.context() as unpatched:
            unpatched.setattr(local, "file_lock", lock)
            other.fetch(record)
        monkeypatch.setattr(remote, "download", lambda *_: pytest.fail("it was fetched again"))
        with lock(*args):
            yield

    monkeypatch.setattr(local, "file_lock", after_another_process)
    assert (other.fetch(record) / "model.txt").read_text() == "weights"


def test_shared_records_are_listed_by_stage_and_model(store_of) -> None:
    first = commit(store_of("a"))
    second = commit(store_of("b"), digest="b" * 16)
    third = commit(store_of("b"), task="train:other", model="other")
    fourth = commit(store_of("a"), task="train:twin", model="twin")
    assert first.digest == third.digest == fourth.digest, "models that are made alike have one digest"
    store = store_of("a")
    assert list(store.shared_records("train", "m")) == [first, second]
    assert sorted(record.path for record in store.shared_records("train")) == sorted(
        record.path for record in (first, second, third, fourth)
    )
    assert list(store.shared_records("distill")) == []


def test_a_damaged_record_of_the_bucket_is_left_out(store_of) -> None:
    store = store_of("a")
    store.remote.write("tasks/train/m/x/record.json", b"{", match=None)
    store.remote.write("tasks/train/m/y/model.txt", b"", match=None)
    assert list(store.shared_records("train", "m")) == []


def test_remote_record_replaces_an_older_result(store_of) -> None:
    here, there = store_of("a"), store_of("b")
    old = commit(replace(here, remote=None))
    (here.folder(old) / "deep").mkdir()
    (here.folder(old) / "tracked.json").write_text("{}")
    here.work(old).mkdir(parents=True)
    new = commit(there, "better", started="2026-02-02", finished="2026-02-03")
    assert here.adopt_remote(old) == new
    assert sorted(path.name for path in here.folder(old).iterdir()) == ["record-20260101T000000.json", "tracked.json"]
    assert not here.work(old).exists()


@pytest.mark.parametrize("change", [{"started": "2026-02-02"}, {"content": "another"}])
def test_remote_record_of_another_run_replaces_the_local_one(store_of, change) -> None:
    here = store_of("a")
    record = commit(here)
    data = remote.encode_record(replace(record, **change))
    here.remote.write(f"{record.path}/record.json", data, match=None)
    assert here.adopt_remote(record) == replace(record, **change)
    assert not (here.folder(record) / "model.txt").exists()


def test_remote_record_equal_to_the_local_one_keeps_files(store_of) -> None:
    store = store_of("a")
    record = commit(store)
    assert store.adopt_remote(record) == record
    assert (store.folder(record) / "model.txt").is_file()
    assert store.load(record) == record


def test_remote_record_is_adopted_without_a_local_one(store_of) -> None:
    record = commit(store_of("b"))
    here = store_of("a")
    assert here.adopt_remote(record) == record
    assert not here.folder(record).exists()


def test_job_without_a_record_keeps_work_and_older_result(store_of) -> None:
    store = store_of("a")
    record = commit(replace(store, remote=None))
    store.work(record).mkdir(parents=True)
    assert store.adopt_remote(record) is None
    assert store.work(record).is_dir()
    assert store.load(record) == record


def test_job_input_must_be_in_the_bucket_with_equal_content(store_of) -> None:
    store = store_of("a")
    record = commit(replace(store, remote=None))
    store.require_uploaded(record)
    assert remote.load(store.remote, record.path) == record
    with pytest.raises(PokeflowError, match=r"train:m is not in file://.*, where a job would read it"):
        store.require_uploaded(replace(record, content="another"))
    with pytest.raises(PokeflowError, match="where a job would read it"):
        store.require_uploaded(replace(record, digest="f" * 16))


def test_bill_is_added_locally_and_in_the_bucket(store_of) -> None:
    store = store_of("a")
    record = commit(store)
    billed = replace(record, cost_usd=1.0)
    store.amend(billed)
    assert store.load(record) == remote.load(store.remote, record.path) == billed


def test_store_is_opened_with_the_bucket_of_the_flow(tmp_path, monkeypatch) -> None:
    opened: list[tuple[Any, int]] = []
    monkeypatch.setattr(local, "open_remote_store", lambda shared, connections: opened.append((shared, connections)))
    shared = RemoteStore("s3://bucket")
    flow = build_flow(tmp_path, {}, remote_store=shared, connections=3)
    open_for_flow(flow)
    local.open_at(tmp_path, shared)
    assert local.open_at(tmp_path, None) == Store(tmp_path)
    assert opened == [(shared, 3), (shared, 16)]
