"""Write receipts of published versions: they may gain entries, never change them, and lose none to other writers."""

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


def published_file(path: str = "models/m/v1/a", sha256: str = "aa", *, fixed: bool = True) -> PublishedFile:
    return PublishedFile(path, 1, sha256, "train:m/a", fixed)


def receipt(*files: PublishedFile, **changes: object) -> Receipt:
    known = {"model": "m", "version": "v1", "type": "teacher", "digest": "d", "content": "c", "records": (record(),)}
    return Receipt("models/m/v1", files or (published_file(),), **{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture
def tree(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_receipt_survives_a_round_trip(tree: Folder) -> None:
    receipts.put(tree, receipt())
    assert receipts.read_all(tree) == (receipt(),)
    assert receipts.read(tree, "models/m/v2") is None


def test_a_receipt_gains_files_and_records(tree: Folder) -> None:
    receipts.put(tree, receipt())
    more = receipt(published_file("models/m/v1/b"), records=(record(), record("benchmark:m", "2026-01-03")))
    joined = receipts.put(tree, more)
    assert [file.path for file in joined.files] == ["models/m/v1/a", "models/m/v1/b"]
    assert [r.task for r in joined.records] == ["train:m", "benchmark:m"]


def test_unchanged_receipt_is_not_written_again(tree: Folder) -> None:
    receipts.put(tree, receipt())
    before = next(iter(tree.list())).etag
    receipts.put(tree, receipt())
    assert next(iter(tree.list())).etag == before


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (receipt(digest="e"), r"m v1 is published with digest d \(content c\), not e \(c\)\. Raise its version\."),
        (receipt(content="x"), "Raise its version"),
        (
            receipt(published_file(sha256="bb")),
            r"models/m/v1/a: m v1 is published with another content \(aa…, now bb…\)",
        ),
    ],
)
def test_published_version_refuses_other_content(tree: Folder, other: Receipt, fault: str) -> None:
    receipts.put(tree, receipt())
    with pytest.raises(PokeflowError, match=fault):
        receipts.put(tree, other)
    assert receipts.read_all(tree) == (receipt(),)


def test_unversioned_file_of_the_later_run_wins(tree: Folder) -> None:
    first = receipt(published_file("models/m/config", "aa", fixed=False))
    later = receipt(published_file("models/m/config", "bb", fixed=False), records=(record(finished="2026-02-02"),))
    receipts.put(tree, later)
    assert receipts.put(tree, first).files[0].sha256 == "bb"


@given(st.permutations([("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]), st.integers(0, 3))
def test_merging_does_not_depend_on_the_order(order: list[tuple[str, str]], split: int) -> None:
    parts = [receipt(published_file(f"models/m/v1/{name}", sha)) for name, sha in order]
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
        b'{"unit": "models/m/v1", "files": [], "model": "other", "version": "v1"}',
        b'{"unit": "models/m/v1", "files": [], "model": "m", "version": "v2"}',
        b'{"unit": "models/m/v1", "files": [{"path": "a", "size": -1, "sha256": "", "source": "", "fixed": true}]}',
        b'{"unit": "../../x", "files": []}',
        b'{"unit": "models/m/v1", "files": [], "facts": {"a": ' + b"[" * 100_000,
    ],
    ids=["empty", "cut", "list", "unit", "outside", "model", "version", "size", "unit outside", "deep"],
)
def test_damaged_or_hostile_receipt_is_refused(tree: Folder, text: bytes) -> None:
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


@pytest.mark.slow
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
    receipts.put(Folder(root), receipt(published_file(f"models/m/v1/{name}")))


@pytest.mark.slow
def test_eight_concurrent_publishes_lose_nothing(tmp_path: Path) -> None:
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


def test_migrated_version_differs_by_its_unknown_digest() -> None:
    old = replace(receipt(), digest="", content="", records=(), origin="s3://old")
    assert "published with digest unknown" in receipts.differences(old, receipt())[0]


def test_unit_without_a_model_may_hold_empty_files(tree: Folder) -> None:
    facts = Receipt("provision", (replace(published_file("empty"), size=0),), facts={"id": 1})
    receipts.put(tree, facts)
    assert receipts.read(tree, "provision")[0] == facts


def test_receipt_is_readable_text(tree: Folder) -> None:
    receipts.put(tree, receipt())
    lines = tree.read("metadata/receipts/models/m/v1.json")[0].decode().splitlines(keepends=True)
    assert lines[:2] == ["{\n", ' "unit": "models/m/v1",\n']
    assert lines[-1] == "}\n"


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("v2.0", "v10.0"), ("v1.9", "v1.10"), ("v1", "v1.0"), ("v1.2", "v1.x"), ("1.0", "v1.0"), ("v1.0-a", "v1.0-b")],
)
def test_versions_are_ordered_by_their_numbers(lower: str, higher: str) -> None:
    assert receipts.version_sort_key(lower) < receipts.version_sort_key(higher)
    assert receipts.version_sort_key("v01") == receipts.version_sort_key("v1")


def test_receipts_are_ordered_by_finish_time_then_by_version() -> None:
    early = replace(receipt(records=(record(finished="2026-01-01"),)), version="v10")
    late = replace(receipt(records=(record(finished="2026-01-02"),)), version="v2")
    twin = replace(late, version="v10", unit="models/m/v10")
    assert sorted([twin, late, early], key=receipts.order) == [early, late, twin]


def test_version_finished_when_its_producing_task_did() -> None:
    two = receipt(records=(record(finished="2026-01-01"), record("benchmark:m", "2026-01-03")))
    assert two.finished == "2026-01-01"
    assert receipt(records=()).finished == ""


def test_of_two_records_of_a_task_the_later_stays(tree: Folder) -> None:
    early, late = record("benchmark:m", "2026-01-03"), record("benchmark:m", "2026-01-04")
    for first, second in ((early, late), (late, early)):
        joined = receipts.merge(receipt(records=(record(), first)), receipt(records=(record(), second)))
        assert joined.records == (record(), late)
    again = replace(late, seconds=9.0)
    joined = receipts.merge(receipt(records=(record(), late)), receipt(records=(record(), again)))
    assert joined.records == (record(), again), "of the same moment the one that is written stays"


@pytest.mark.parametrize("finished", ["2026-01-02", "2026-02-02"])
def test_files_of_a_run_that_is_not_older_replace_the_old_ones(finished: str) -> None:
    old = receipt(published_file("config", "aa", fixed=False), published_file("old", fixed=False))
    new = receipt(
        published_file("config", "bb", fixed=False),
        published_file("new", fixed=False),
        records=(record(finished=finished),),
        facts={"a": 1},
    )
    joined = receipts.merge(old, new)
    assert {file.path: file.sha256 for file in joined.files} == {"config": "bb", "old": "aa", "new": "aa"}
    assert [file.path for file in joined.files] == ["config", "new", "old"]
    assert (joined.finished, joined.facts) == (finished, {"a": 1})


def test_older_run_adds_only_missing_files_and_no_facts() -> None:
    old = receipt(published_file("config", "bb", fixed=False), records=(record(finished="2026-02-02"),), facts={"a": 1})
    new = receipt(published_file("config", "aa", fixed=False), published_file("more", fixed=False), facts={"a": 2})
    joined = receipts.merge(old, new)
    assert {file.path: file.sha256 for file in joined.files} == {"config": "bb", "more": "aa"}
    assert (joined.finished, joined.facts) == ("2026-02-02", {"a": 1})


def test_unit_without_records_is_replaced_by_the_last_write() -> None:
    old = Receipt("data", (published_file("link", "aa", fixed=False),), records=(record("prepare:data"),))
    new = Receipt("data", (published_file("link", "bb", fixed=False),))
    assert receipts.merge(old, new).files[0].sha256 == "bb"


def test_the_type_and_the_parents_of_a_published_version_stay() -> None:
    known = receipt(type="teacher", parents=("a:v1",))
    other = receipt(type="student", parents=("b:v1",))
    bare = receipt(type="", parents=())
    assert [(r.type, r.parents) for r in (receipts.merge(known, other), receipts.merge(known, bare))] == [
        ("teacher", ("a:v1",))
    ] * 2
    assert (receipts.merge(bare, other).type, receipts.merge(bare, other).parents) == ("student", ("b:v1",))


def test_producing_record_is_first_and_the_others_by_their_start() -> None:
    producer = record("train:m", "2026-01-05")
    first, second = record("benchmark:m", "2026-01-01"), record("register:m", "2026-01-02")
    joined = receipts.merge(receipt(records=(producer, second)), receipt(records=(producer, first)))
    assert joined.records == (producer, first, second)
    assert receipts.merge(receipt(records=()), receipt(records=())).records == ()


def test_a_file_that_is_fixed_in_one_receipt_only_may_differ() -> None:
    fixed, loose = published_file("a", "aa"), published_file("a", "bb", fixed=False)
    assert receipts.differences(receipt(fixed), receipt(loose)) == []
    assert receipts.differences(receipt(loose), receipt(published_file("a", "cc"))) == []
    assert (
        len(
            receipts.differences(
                receipt(fixed, published_file("b", "aa")), receipt(published_file("a", "x"), published_file("b", "y"))
            )
        )
        == 2
    )
    assert receipts.differences(receipt(fixed), receipt(fixed, published_file("new", "zz"))) == []


def test_unversioned_unit_may_change_its_content() -> None:
    old = Receipt("data", (published_file("a", "aa"),), digest="d")
    assert receipts.differences(old, replace(old, digest="e", files=(published_file("a", "bb"),))) == []


def test_difference_reports_unknown_digest_and_content() -> None:
    (text,) = receipts.differences(receipt(digest="", content=""), receipt())
    assert text == "m v1 is published with digest unknown (content unknown), not d (c). Raise its version."


def test_receipts_are_read_sorted_without_other_files(tree: Folder) -> None:
    assert receipts.read_all(tree) == ()
    units = [receipts.unit("m", f"v{n}") for n in range(20)]
    for unit in reversed(units):
        receipts.put(tree, Receipt(unit, ()))
    tree.write("metadata/receipts/models/m/notes.txt", b"", match=None)
    assert [item.unit for item in receipts.read_all(tree)] == sorted(units)


def test_damaged_receipt_does_not_hide_the_others(tree: Folder) -> None:
    receipts.put(tree, receipt())
    tree.write("metadata/receipts/data.json", b"{", match=None)
    results = dict(receipts.read_each(tree))
    assert results["metadata/receipts/models/m/v1.json"] == receipt()
    assert isinstance(results["metadata/receipts/data.json"], IntegrityError)


def test_receipt_removed_while_reading_is_left_out(tree: Folder, monkeypatch) -> None:
    receipts.put(tree, receipt())
    receipts.put(tree, Receipt("data", ()))
    read = Folder.read

    def remove(self: Folder, key: str) -> tuple[bytes, str]:
        if key.endswith("data.json"):
            self.delete(key)
        return read(self, key)

    monkeypatch.setattr(Folder, "read", remove)
    assert receipts.read_all(tree) == (receipt(),)


def test_cached_receipt_is_not_used_for_another_key(tree: Folder, monkeypatch) -> None:
    """Read a receipt where etags depend on the bytes alone, so that two keys may have the same one."""
    receipts.put(tree, receipt())
    (entry,) = tree.list()
    known = {entry.etag: replace(receipt(), unit="models/m/v2")}
    assert receipts.read_all(tree, known) == (receipt(),)
    assert known[entry.etag] == receipt()


def test_write_between_read_and_write_is_not_lost(tree: Folder, monkeypatch) -> None:
    """Let another publisher write after this one has read, for a first receipt and for a later one."""
    write, others = Folder.write, ["theirs", "theirs-too"]

    def interfere(self: Folder, key: str, data: bytes, *, match: str | None) -> str:
        if others:
            with monkeypatch.context() as without_rivals:
                without_rivals.setattr(Folder, "write", write)
                receipts.put(self, receipt(published_file(f"models/m/v1/{others.pop()}")))
        return write(self, key, data, match=match)

    monkeypatch.setattr(Folder, "write", interfere)
    receipts.put(tree, receipt(published_file("models/m/v1/mine")))
    receipts.put(tree, receipt(published_file("models/m/v1/mine-too")))
    names = [file.path.rpartition("/")[2] for file in receipts.read_all(tree)[0].files]
    assert names == ["mine", "mine-too", "theirs", "theirs-too"]
