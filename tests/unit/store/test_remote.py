"""Send finished tasks to a bucket in a safe order, check their records, and fetch them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.objects._base import IntegrityError
from pokeflow.objects._folder import Folder
from pokeflow.store import _remote as remote
from pokeflow.types import File, Record
from pokeflow_testkit.records import build_record


class Bucket(Folder):
    """A folder of objects that records which keys were written, read and deleted, in order."""

    calls: list[str]

    def note(self, call: str) -> None:
        self.calls.append(call)

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        self.note(f"write {key}")
        return super().write(key, data, match=match)

    def upload(self, source: Path, key: str, **options: Any) -> None:
        self.note(f"upload {key}")
        super().upload(source, key, **options)

    def delete(self, key: str) -> None:
        self.note(f"delete {key}")
        super().delete(key)

    def download(self, key: str, target: Path, **options: Any) -> str:
        self.note(f"download {key}")
        return super().download(key, target, **options)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(Bucket, "calls", [], raising=False)
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a task's folder with two files, a log and telemetry."""
    texts = {"model.txt": "weights", "deep/er/b.txt": "b", "log.txt": "log", "telemetry/sub/run.yaml": "run"}
    for name, text in texts.items():
        file = tmp_path / "task" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "task"


@pytest.fixture
def record(folder: Path) -> Record:
    names = ("deep/er/b.txt", "model.txt")
    files = tuple(File(name, (folder / name).stat().st_size, sha256(folder / name)) for name in names)
    return build_record("train:m", files=files)


def send(bucket: Bucket, folder: Path, record: Record) -> list[str]:
    """Send a task; return the calls with the keys below the task's path."""
    bucket.calls.clear()
    remote.upload(bucket, record.path, folder, record)
    return [call.replace(f"{record.path}/", "") for call in bucket.calls]


def texts(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_the_record_is_sent_last(bucket: Bucket, folder: Path, record: Record) -> None:
    calls = send(bucket, folder, record)
    assert sorted(calls[:2]) == ["upload deep/er/b.txt", "upload model.txt"]
    assert calls[2:] == ["write log.txt", "upload telemetry/sub/run.yaml", "write record.json"]
    assert remote.load(bucket, record.path) == record


def test_old_record_is_deleted_before_its_files_are_replaced(bucket: Bucket, folder: Path, record: Record) -> None:
    send(bucket, folder, record)
    newer = replace(record, finished="2026-01-03T00:00:00")
    calls = send(bucket, folder, newer)
    assert calls[0] == "delete record.json"
    assert calls[-1] == "write record.json"
    assert remote.load(bucket, record.path) == newer


@pytest.mark.parametrize("finished", ["2026-01-01T00:00:00", "2026-01-02T00:00:00"])
def test_result_that_finished_no_earlier_is_kept(bucket: Bucket, folder: Path, record: Record, finished: str) -> None:
    send(bucket, folder, record)
    assert send(bucket, folder, replace(record, finished=finished, seconds=9.0)) == []
    assert remote.load(bucket, record.path) == record


def test_file_that_differs_from_its_record_is_not_sent(bucket: Bucket, folder: Path, record: Record) -> None:
    (folder / "model.txt").write_text("altered")
    with pytest.raises(IntegrityError, match=r"model\.txt"):
        send(bucket, folder, record)
    assert remote.load(bucket, record.path) is None


def test_a_task_without_a_log_and_telemetry_is_sent_too(bucket: Bucket, folder: Path, record: Record) -> None:
    (folder / "log.txt").unlink()
    (folder / "telemetry" / "sub" / "run.yaml").unlink()
    assert len(send(bucket, folder, record)) == 3


def test_telemetry_is_replaced_and_links_are_not_followed(bucket: Bucket, folder: Path, record: Record) -> None:
    send(bucket, folder, record)
    (folder / "telemetry" / "sub" / "run.yaml").rename(folder / "telemetry" / "new.yaml")
    (folder / "telemetry" / "link").symlink_to(folder / "model.txt")
    send(bucket, folder, replace(record, finished="2026-01-03"))
    keys = [entry.key.removeprefix(f"{record.path}/telemetry/") for entry in bucket.list(f"{record.path}/telemetry/")]
    assert keys == ["new.yaml"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": "0" * 16}, "it belongs to another task, 'train:m' '0000000000000000'"),
        ({"task": "train:other"}, "it belongs to another task"),
        ({"model": "other", "task": "train:other"}, "it belongs to another task"),
        ({"files": (File("../x", 1, "a"),)}, "is not a valid key"),
        ({"files": (File("a", 1, "a"), File("/x", 1, "a"))}, "is not a valid key"),
    ],
)
def test_record_of_another_task_or_folder_is_rejected(
    bucket: Bucket, change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = build_record("train:m")
    bucket.write(f"{record.path}/record.json", remote.encode_record(replace(record, **change)), match=None)
    assert remote.load(bucket, record.path) is None
    assert reason in caplog.text
    assert "is not a valid record" in caplog.text


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"facts": {"a": ' + b"[" * 100_000])
def test_a_damaged_record_counts_as_none(bucket: Bucket, data: bytes) -> None:
    bucket.write("tasks/train/m/x/record.json", data, match=None)
    assert remote.load(bucket, "tasks/train/m/x") is None


def test_missing_record_gives_no_warning(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    assert remote.load(bucket, "tasks/train/m/x") is None
    assert caplog.messages == []


def test_a_bucket_that_cannot_be_read_is_an_error(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Bucket, key: str) -> None:
        raise PokeflowError("no network")

    monkeypatch.setattr(Bucket, "read", fail)
    with pytest.raises(PokeflowError, match="no network"):
        remote.load(bucket, "tasks/train/m/x")


def test_record_is_readable_text() -> None:
    lines = remote.encode_record(build_record("train:m")).decode().splitlines(keepends=True)
    assert lines[:2] == ["{\n", '  "task": "train:m",\n']
    assert lines[-1] == "}\n"


def test_a_bill_is_added_to_the_record_of_the_same_run(bucket: Bucket, folder: Path, record: Record) -> None:
    send(bucket, folder, record)
    billed = replace(record, cost_usd=1.5)
    remote.amend(bucket, record.path, billed)
    assert remote.load(bucket, record.path) == billed


@pytest.mark.parametrize("change", [{"started": "2026-02-02"}, {"content": "another"}])
def test_bill_is_not_added_to_the_record_of_another_run(
    bucket: Bucket, folder: Path, record: Record, change: dict[str, str]
) -> None:
    send(bucket, folder, replace(record, **change))
    remote.amend(bucket, record.path, replace(record, cost_usd=1.5))
    assert remote.load(bucket, record.path) == replace(record, **change)


def test_record_replaced_while_a_bill_is_added_is_kept(
    bucket: Bucket, folder: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(bucket, folder, record)
    newer = replace(record, started="2026-02-02", finished="2026-02-03")
    read = Folder.read

    def replace_after_reading(self: Bucket, key: str) -> tuple[bytes, str]:
        data = read(self, key)
        Folder.write(self, key, remote.encode_record(newer), match=None)
        return data

    with monkeypatch.context() as context:
        context.setattr(Bucket, "read", replace_after_reading)
        remote.amend(bucket, record.path, replace(record, cost_usd=1.5))
    assert remote.load(bucket, record.path) == newer


def test_bill_without_a_record_writes_nothing(bucket: Bucket) -> None:
    remote.amend(bucket, "tasks/train/m/x", build_record())
    assert list(bucket.list()) == []


def test_fetched_task_equals_the_sent_one(bucket: Bucket, folder: Path, record: Record, tmp_path: Path) -> None:
    send(bucket, folder, record)
    remote.download(bucket, record.path, record, tmp_path / "new" / "draft")
    fetched = texts(tmp_path / "new" / "draft")
    assert fetched.pop("record.json").encode() == remote.encode_record(record)
    assert fetched == texts(folder)


def test_interrupted_fetch_resumes_without_complete_files(
    bucket: Bucket, folder: Path, record: Record, tmp_path: Path
) -> None:
    send(bucket, folder, record)
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "model.txt").write_text("weights")
    (draft / "telemetry").mkdir()
    (draft / "telemetry" / "of-another-run").write_text("")
    bucket.calls.clear()
    remote.download(bucket, record.path, record, draft)
    assert f"download {record.path}/model.txt" not in bucket.calls
    assert f"download {record.path}/deep/er/b.txt" in bucket.calls
    assert sorted(texts(draft)) == ["deep/er/b.txt", "log.txt", "model.txt", "record.json", "telemetry/sub/run.yaml"]


def test_a_file_of_another_size_is_fetched_again(bucket: Bucket, folder: Path, record: Record, tmp_path: Path) -> None:
    send(bucket, folder, record)
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "model.txt").write_text("half")
    remote.download(bucket, record.path, record, draft)
    assert (draft / "model.txt").read_text() == "weights"


def test_file_damaged_in_the_bucket_is_refused(bucket: Bucket, folder: Path, record: Record, tmp_path: Path) -> None:
    send(bucket, folder, record)
    bucket.write(f"{record.path}/model.txt", b"WEIGHTS", match=None)
    with pytest.raises(IntegrityError, match=r"model\.txt"):
        remote.download(bucket, record.path, record, tmp_path / "draft")
    assert not (tmp_path / "draft" / "record.json").exists()


def test_a_task_without_a_log_is_fetched_without_one(
    bucket: Bucket, folder: Path, record: Record, tmp_path: Path
) -> None:
    send(bucket, folder, record)
    bucket.delete(f"{record.path}/log.txt")
    remote.download(bucket, record.path, record, tmp_path / "draft")
    assert "log.txt" not in texts(tmp_path / "draft")


def test_a_task_without_files_is_fetched_too(bucket: Bucket, tmp_path: Path) -> None:
    record = build_record("train:m")
    remote.upload(bucket, record.path, tmp_path / "nothing", record)
    remote.download(bucket, record.path, record, tmp_path / "new" / "draft")
    assert list(texts(tmp_path / "new" / "draft")) == ["record.json"]


def test_the_progress_of_a_transfer_is_its_bytes(
    bucket: Bucket, folder: Path, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[tuple[str, float]] = []
    passed: list[float] = []

    def each(work: Any, items: Any, *, label: str, total: float) -> None:
        bars.append((label, total))
        for item in items:
            work(item, passed.append)

    monkeypatch.setattr(remote, "each", each)
    send(bucket, folder, record)
    remote.download(bucket, record.path, record, tmp_path / "draft")
    size = sum(file.size for file in record.files)
    assert bars == [("sending train:m", size), ("fetching train:m", size)]
    assert sum(passed) == 2 * size
