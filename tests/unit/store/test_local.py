"""Keep results in a local store: finished ones only, across reruns, with one process at a time."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Backend, File, NoParams, PokeflowError, Record
from pokeflow.digest import content
from pokeflow.flow import Step
from pokeflow.store import _local as local
from pokeflow.store._local import Store, list_files, read_record, tracking_answers
from pokeflow_testkit.records import build_record

BACKEND = Backend("toy", "train", lambda task: {}, NoParams)
STEP = Step("train", BACKEND, "teacher", "v1.0", "teacher", NoParams(), (), "local", digest="0123456789abcdef")


def test_begin_keeps_checkpoints_and_empties_the_output(tmp_path: Path) -> None:
    store = Store(tmp_path)
    work, output = store.begin(STEP)
    (work / "checkpoint").write_text("kept")
    (output / "half").write_text("gone")
    work, output = store.begin(STEP)
    assert (work / "checkpoint").read_text() == "kept"
    assert list(output.iterdir()) == []


def test_files_without_a_record_are_no_result(tmp_path: Path) -> None:
    folder = Store(tmp_path).folder(STEP)
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text("complete, as far as anyone can tell")
    assert Store(tmp_path).load(STEP) is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"task": 3}', "\x00" * 100])
def test_invalid_record_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("kind", ["file", "folder", "outside"])
def test_a_result_holds_no_links(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "output"
    output.mkdir()
    target = {"file": output / "a", "folder": output, "outside": Path("/etc/passwd")}[kind]
    (output / "a").write_text("a")
    (output / "link").symlink_to(target)
    with pytest.raises(PokeflowError, match="only regular files"):
        list_files(output)


def test_files_are_listed_with_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("abc")
    (tmp_path / "a").write_text("")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert list_files(tmp_path) == (File("a", 0, empty), File("sub/b", 3, abc))


def _hold(root: Path, count: int) -> None:
    for _ in range(count):
        with Store(root).hold_lease(STEP):
            file = root / "inside"
            # O_EXCL: were two inside at once, one of them would fail here.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            file.unlink()


def test_a_lease_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hold, args=(tmp_path, 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [p.exitcode for p in processes] == [0] * 4
    assert list((tmp_path / "locks").iterdir()) == []


RECORD = build_record("train:teacher", digest=STEP.digest, seconds=5.0)


def leave_output(store: Store, text: str = "weights", **changes: Any) -> tuple[Path, Record]:
    """Write a result to the output folder of a running task; return the folder and the record to commit."""
    work, output = store.begin(STEP)
    (output / "model.txt").write_text(text)
    (work / "log.txt").write_text(f"log of {text}")
    (work / "telemetry").mkdir(exist_ok=True)
    (work / "telemetry" / "run.yaml").write_text(text)
    files = list_files(output)
    return output, replace(RECORD, files=files, content=content(files), **changes)


def commit(store: Store, text: str = "weights", **changes: Any) -> Record:
    output, record = leave_output(store, text, **changes)
    store.commit(output, record)
    return record


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_committed_result_has_files_record_log_and_telemetry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = commit(store)
    assert names(tmp_path) == [
        f"{record.path}/{name}" for name in ("log.txt", "model.txt", "record.json", "telemetry/run.yaml")
    ]
    assert store.load(STEP) == record
    assert store.fetch(record) == store.folder(STEP)
    assert json.loads((store.folder(STEP) / "record.json").read_text())["digest"] == STEP.digest
    assert not store.work(STEP).exists()


def test_second_result_of_a_model_keeps_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = commit(store)
    other = replace(first, digest="f" * 16)
    output = tmp_path / "work" / "other"
    output.mkdir(parents=True)
    (output / "model.txt").write_text("weights")
    store.commit(output, other)
    assert {record.digest for record, _ in store.records("train", "teacher")} == {STEP.digest, "f" * 16}


def test_a_kill_before_the_record_is_written_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    output, record = leave_output(store)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as kill:
        kill.setattr(local, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            store.commit(output, record)
    assert store.load(STEP) is None
    work, _ = store.begin(STEP)
    assert (work / "log.txt").read_text() == "log of weights", "the next attempt goes on with the log of this one"
    assert (work / "telemetry" / "run.yaml").is_file()
    record = commit(store, "again")
    assert store.load(STEP) == record
    assert (store.folder(STEP) / "model.txt").read_text() == "again"


def test_commit_recovers_from_a_kill_during_replacement(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store)
    left_over = store.work(STEP) / "replaced"
    left_over.mkdir(parents=True)
    (left_over / "model.txt").write_text("of an earlier attempt")
    record = commit(store, "better")
    assert store.load(STEP) == record


def test_fetch_without_a_bucket_returns_the_folder(tmp_path: Path) -> None:
    assert Store(tmp_path).fetch(RECORD) == Store(tmp_path).folder(RECORD)


def test_finished_result_keeps_its_log_during_a_rerun(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store)
    work, _ = store.begin(STEP)
    assert not (work / "log.txt").exists()
    assert (store.folder(STEP) / "log.txt").is_file()


def test_replaced_result_keeps_its_record_and_tracking_answers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = commit(store, started="2026-01-01T00:00:00")
    (store.folder(STEP) / "tracked.json").write_text('{"2026-01-01T00:00:00": {"run_id": "1"}}')
    second = commit(store, "better", started="2026-01-02T00:00:00")
    third = commit(store, "best", started="2026-01-03T00:00:00")
    assert names(store.folder(STEP)) == [
        "log.txt",
        "model.txt",
        "record-20260101T000000.json",
        "record-20260102T000000.json",
        "record.json",
        "telemetry/run.yaml",
        "tracked.json",
    ]
    assert (store.folder(STEP) / "log.txt").read_text() == "log of best"
    assert {record.started for record, _ in store.all_records()} == {r.started for r in (first, second, third)}
    assert [record for record, _ in store.records()] == [third]
    assert tracking_answers(store.folder(STEP)) == {"2026-01-01T00:00:00": {"run_id": "1"}}


@pytest.mark.parametrize(("seconds", "flushes"), [(0.0, False), (1.0, False), (1.001, True), (3600.0, True)])
def test_record_of_a_task_over_one_second_is_flushed_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, flushes: bool
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    commit(Store(tmp_path), seconds=seconds)
    assert len(synced) == flushes
    assert all("record.json" in path for path in synced)


def test_bill_is_added_only_to_an_existing_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.amend(replace(RECORD, cost_usd=1.0))
    assert store.load(STEP) is None
    record = commit(store)
    store.amend(replace(record, cost_usd=1.0))
    assert store.load(STEP) == replace(record, cost_usd=1.0)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/hostname", "a/../../x", "..", "x\x00", "a" * 300, "missing", "model.txt/x"]
)
def test_record_whose_files_are_missing_or_outside_is_ignored(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "root" / "task"
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text("four")
    (tmp_path / "root" / "x").write_text("four")
    outside = Path("/etc/hostname")
    size = outside.stat().st_size if path == str(outside) else 4
    files = (File("model.txt", 4, "a"), File(path, size, "b"))
    record = build_record("train:m", files=files)
    (folder / "record.json").write_bytes(local._remote.encode_record(record))
    assert read_record(folder) is None
    assert "is missing or truncated: the task counts as unfinished" in caplog.text
    (folder / "record.json").write_bytes(local._remote.encode_record(replace(record, files=files[:1])))
    assert read_record(folder) == replace(record, files=files[:1])


@pytest.mark.parametrize("text", ["four!", "fou", ""])
def test_record_with_a_file_of_another_size_is_ignored(tmp_path: Path, text: str) -> None:
    files = (File("a", 4, "a"), File("b", 4, "b"))
    (tmp_path / "record.json").write_bytes(local._remote.encode_record(build_record(files=files)))
    (tmp_path / "a").write_text("four")
    (tmp_path / "b").write_text(text)
    assert read_record(tmp_path) is None
    (tmp_path / "b").write_text("four")
    assert read_record(tmp_path) is not None


def test_file_name_that_begins_with_dots_is_valid(tmp_path: Path) -> None:
    (tmp_path / "..a").write_text("four")
    (tmp_path / "record.json").write_bytes(local._remote.encode_record(build_record(files=(File("..a", 4, "a"),))))
    assert read_record(tmp_path) is not None


@pytest.mark.parametrize("text", ["{", '{"facts": {"a": ' + "[" * 100_000], ids=["cut", "deep"])
def test_unreadable_record_is_reported(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path) is None
    assert "is not readable" in caplog.text
    assert "the task counts as unfinished" in caplog.text


def test_record_that_is_a_folder_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "record.json").mkdir()
    assert read_record(tmp_path) is None
    assert "Is a directory" in caplog.text


def test_no_record_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_record(tmp_path) is None
    assert caplog.messages == []


def test_records_are_listed_by_stage_and_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    record = commit(store)
    for text in ("{", '{"facts": {"a": ' + "[" * 100_000):
        folder = tmp_path / "tasks" / "train" / "teacher" / f"broken{len(text)}"
        folder.mkdir()
        (folder / "record.json").write_text(text)
    (tmp_path / "tasks" / "train" / "teacher" / "odd" / "record.json").mkdir(parents=True)
    assert list(store.records()) == list(store.records("train")) == [(record, store.folder(STEP))]
    assert list(store.records("train", "other")) == list(store.records("distill")) == []
    caplog.clear()
    assert list(store.all_records()) == [(record, store.folder(STEP))]
    assert caplog.text.count("and is skipped") == 3


def test_a_lease_without_a_bucket_is_the_lock_of_this_machine(tmp_path: Path) -> None:
    with Store(tmp_path).hold_lease(STEP) as lease:
        assert [path.name for path in (tmp_path / "locks").iterdir()] == [f"{STEP.digest}.lock"]
        lease.require_held()


def test_removed_output_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match="the backend removed its output folder"):
        list_files(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["record.json", "log.txt", "tracked.json", "shared.json", "record-1.json"])
def test_reserved_names_are_refused_only_at_the_top(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text("")
    assert [file.path for file in list_files(tmp_path)] == [f"sub/{name}"]
    (tmp_path / name).write_text("")
    with pytest.raises(PokeflowError, match="this name is reserved for pokeflow's own files"):
        list_files(tmp_path)


def test_a_folder_of_telemetry_is_refused_in_a_result(tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    with pytest.raises(PokeflowError, match="this name is reserved"):
        list_files(tmp_path)


def test_a_result_holds_no_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PokeflowError, match="only regular files"):
        list_files(tmp_path)


@pytest.mark.parametrize("text", [None, "", "[]", '{"a": 1}'])
def test_unreadable_tracking_answers_are_ignored(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "tracked.json").write_text(text)
    assert tracking_answers(tmp_path) == {}
