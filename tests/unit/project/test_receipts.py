"""A receipt says what is published: it may gain, what it says never changes, and of many writers none is lost."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import IntegrityError
from pokeflow.objects._folder import Folder
from pokeflow.project import receipts
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.types import Record


def record(task: str = "train:m", finished: str = "2026-01-02") -> Record:
    stage, _, model = task.partition(":")
    named = (task, stage, "toy", "1", model, "v1", "teacher", "d")
    return Record(*named, {}, {}, {}, {}, {}, (), "c", {}, "local", finished, finished, 1.0)


def placed(path: str = "models/m/v1/a", sha256: str = "aa", *, fixed: bool = True) -> PublishedFile:
    return PublishedFile(path, 1, sha256, "train:m/a", fixed)


def receipt(*files: PublishedFile, **changes: object) -> Receipt:
    known = {"model": "m", "version": "v1", "type": "teacher", "digest": "d", "content": "c", "records": (record(),)}
    return Receipt("models/m/v1", files or (placed(),), **{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture
def tree(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_receipt_is_read_as_it_was_written(tree: Folder) -> None:
    receipts.put(tree, receipt())
    assert receipts.read_all(tree) == (receipt(),)
    assert receipts.read(tree, "models/m/v2") is None


def test_a_receipt_gains_files_and_records(tree: Folder) -> None:
    receipts.put(tree, receipt())
    more = receipt(placed("models/m/v1/b"), records=(record(), record("benchmark:m", "2026-01-03")))
    joined = receipts.put(tree, more)
    assert [file.path for file in joined.files] == ["models/m/v1/a", "models/m/v1/b"]
    assert [r.task for r in joined.records] == ["train:m", "benchmark:m"]


def test_the_same_again_writes_nothing(tree: Folder) -> None:
    receipts.put(tree, receipt())
    before = next(iter(tree.list())).etag
    receipts.put(tree, receipt())
    assert next(iter(tree.list())).etag == before


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (receipt(digest="e"), r"m v1 is published with digest d \(content c\), not e \(c\)\. Raise its version\."),
        (receipt(content="x"), "Raise its version"),
        (receipt(placed(sha256="bb")), r"models/m/v1/a: m v1 is published with another content \(aa…, now bb…\)"),
    ],
)
def test_what_is_published_is_refused_to_anything_else(tree: Folder, other: Receipt, fault: str) -> None:
    receipts.put(tree, receipt())
    with pytest.raises(PokeflowError, match=fault):
        receipts.put(tree, other)
    assert receipts.read_all(tree) == (receipt(),)


def test_what_lies_under_no_version_may_change_and_the_later_making_wins(tree: Folder) -> None:
    first = receipt(placed("models/m/config", "aa", fixed=False))
    later = receipt(placed("models/m/config", "bb", fixed=False), records=(record(finished="2026-02-02"),))
    receipts.put(tree, later)
    assert receipts.put(tree, first).files[0].sha256 == "bb"


@given(st.permutations([("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]), st.integers(0, 3))
def test_the_order_in_which_writers_come_makes_no_difference(order: list[tuple[str, str]], split: int) -> None:
    parts = [receipt(placed(f"models/m/v1/{name}", sha)) for name, sha in order]
    joined = parts[0]
    for part in parts[1:]:
        joined = receipts.merge(joined, part)
    other = parts[split]
    for part in reversed(parts):
        other = receipts.merge(other, part)
    assert joined == other
    assert len(joined.files) == 4


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"unit": "models/other/v1", "files": []}',
        b'{"unit": "models/m/v1", "files": [{"path": "../../etc/passwd", "size": 1, "sha256": "", "source": "", '
        b'"fixed": true}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_or_hostile_receipt_is_told_and_never_followed(tree: Folder, text: bytes) -> None:
    tree.write("metadata/receipts/models/m/v1.json", text, match=None)
    with pytest.raises(IntegrityError, match=r"metadata/receipts/models/m/v1\.json: not a valid receipt"):
        receipts.read_all(tree)
    with pytest.raises(IntegrityError):
        receipts.put(tree, receipt())


def _put(root: Path, name: str, answers: "multiprocessing.Queue[bool]") -> None:
    try:
        receipts.put(Folder(root), receipt(content=name))
        answers.put(True)
    except PokeflowError:
        answers.put(False)


def test_of_eight_publishers_of_one_version_one_is_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_put, args=(tmp_path, f"content{i}", answers)) for i in range(8)]
    for process in processes:
        process.start()
    assert sorted(answers.get(timeout=120) for _ in processes) == [False] * 7 + [True]
    for process in processes:
        process.join(120)


def _gain(root: Path, name: str) -> None:
    receipts.put(Folder(root), receipt(placed(f"models/m/v1/{name}")))


def test_of_eight_who_add_to_one_version_none_is_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_gain, args=(tmp_path, f"file{i}")) for i in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert len(receipts.read_all(Folder(tmp_path))[0].files) == 8


def test_receipts_that_did_not_change_are_read_once(tree: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts.put(tree, receipt())
    known: dict[str, Receipt] = {}
    first = receipts.read_all(tree, known)
    monkeypatch.setattr(Folder, "read", lambda self, key: pytest.fail("it was read again"))
    assert receipts.read_all(tree, known) == first


def test_a_version_that_was_migrated_is_told_apart() -> None:
    old = replace(receipt(), digest="", content="", records=(), origin="s3://old")
    assert "published with digest unknown" in receipts.differences(old, receipt())[0]
