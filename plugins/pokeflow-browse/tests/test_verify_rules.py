"""Test verify's rules one by one: totals, files that vanish or cannot be read, stale documents, links."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects import NotFoundError
from pokeflow.objects._folder import Folder
from pokeflow.project import documents, inventory, receipts
from pokeflow.project._kinds import kinds_of
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import DocumentKind
from pokeflow_browse import verify as verifying
from pokeflow_browse.verify import Problem, VerifyResult, verify
from pokeflow_testkit.handmade import checksum, empty, lay, link, publish, published, record, where, write_receipt

ONNX = "models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx"
CONFIG = "models/dinov3-teacher/training_config.json"
HISTORY = "metadata/training_history.json"
MANIFEST = "metadata/project_manifest.json"
PROCESSED = "data/processed/link.json"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return published(tmp_path)


def only(tree: Tree, *, quick: bool = False) -> Problem:
    (problem,) = verify(tree, quick=quick).problems
    return problem


def fail_reading(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, *paths: str) -> list[str]:
    """Let reading these paths fail; return the list of all keys that are read from now on."""
    real: Callable[..., Any] = getattr(Folder, method)
    read: list[str] = []

    def failing(self: Folder, key: str, **more: object) -> Any:
        read.append(key)
        if key in paths:
            raise error
        return real(self, key, **more)

    monkeypatch.setattr(Folder, method, failing)
    return read


def write_unit(tree: Tree, *files: PublishedFile) -> None:
    """Write the receipt of a migrated unit that lists these files."""
    write_receipt(tree, Receipt("migrations/a", files, origin="s3://x"))
    documents.write(tree)


def test_totals_count_what_was_read(tree: Tree) -> None:
    paths = inventory.current(inventory.read(tree)[0])
    size = sum(where(tree, path).stat().st_size for path in paths)
    assert verify(tree) == VerifyResult((), 8, size, 5, 4, 2, quick=False)
    assert verify(tree, quick=True) == VerifyResult((), 8, size, 5, 4, 2, quick=True)


def test_published_documents_are_read_unless_quick(tree: Tree) -> None:
    write_unit(tree, published_document(tree, "models/x/v1/metrics.json", "metrics", b"{}"))
    full, quick = verify(tree), verify(tree, quick=True)
    assert (full.documents, quick.documents) == (5, 4)
    assert {(problem.kind, problem.path) for problem in full.problems} == {("invalid", "models/x/v1/metrics.json")}
    assert quick.problems == ()


def published_document(tree: Tree, path: str, name: str, data: bytes) -> PublishedFile:
    """Write a document below a version's folder; return its entry in a receipt."""
    lay(tree, path, data)
    return PublishedFile(path, len(data), checksum(data), f"document:{name}", fixed=True)


def test_problems_are_sorted_worst_first(tree: Tree) -> None:
    lay(tree, "b", b"")
    lay(tree, "a", b"")
    where(tree, "models/efficientnet-hailo/v2.1/student.hef").unlink()
    where(tree, ONNX).unlink()
    where(tree, CONFIG).write_bytes(b"changed")
    where(tree, MANIFEST).write_text("{")
    content = json.loads(where(tree, HISTORY).read_text())
    where(tree, HISTORY).write_text(json.dumps({**content, "project": "other"}))
    assert [(problem.kind, problem.path) for problem in verify(tree).problems] == [
        ("missing", ONNX),
        ("missing", "models/efficientnet-hailo/v2.1/student.hef"),
        ("altered", CONFIG),
        ("invalid", MANIFEST),
        ("stale", HISTORY),
        ("orphaned", "a"),
        ("orphaned", "b"),
    ]


def test_missing_tree_is_reported_with_its_address(tmp_path: Path) -> None:
    tree = empty(tmp_path)
    result = verify(tree)
    assert [problem.path for problem in result.problems] == [tree.objects.uri]
    assert (result.files, result.size, result.receipts, result.documents, result.links) == (0, 0, 0, 0, 0)


def test_missing_file_is_reported_with_its_checksum(tree: Tree) -> None:
    expected = checksum(where(tree, ONNX).read_bytes())
    where(tree, ONNX).unlink()
    assert only(tree) == Problem("missing", ONNX, "listed by dinov3-teacher v1.0", expected)


def test_file_of_another_size_is_reported_in_words_and_bytes(tree: Tree) -> None:
    where(tree, ONNX).write_bytes(b"x" * 1500)
    message = "1.50 kB (1,500 B), published with 7,000 B by dinov3-teacher v1.0"
    assert only(tree) == Problem("altered", ONNX, message, 7000, 1500)


def test_orphan_is_reported_with_its_size(tree: Tree) -> None:
    lay(tree, "stray", b"12345")
    assert only(tree) == Problem("orphaned", "stray", "5 B, in no receipt")


def test_file_that_is_removed_during_verification_is_missing(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_reading(monkeypatch, "sha256", NotFoundError("gone"), ONNX)
    assert only(tree) == Problem("missing", ONNX, "listed by dinov3-teacher v1.0; removed during verification")


def test_each_file_is_read_once_with_progress(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []
    real = verifying.each

    def each(work: Any, items: Any, *, label: str, total: float) -> None:
        shown: list[float] = []
        real(lambda item, _: work(item, shown.append), items, label=label, total=total)
        bars.append((label, total, sum(shown)))

    monkeypatch.setattr(verifying, "each", each)
    read = fail_reading(monkeypatch, "sha256", NotFoundError("gone"))
    result = verify(tree)
    names = ("model_lineage", "performance_benchmarks", "project_manifest", "training_history")
    size = sum(where(tree, f"metadata/{name}.json").stat().st_size for name in names)
    assert bars == [("verifying", result.size, result.size), ("checking documents", size, size)]
    assert sorted(read) == sorted(inventory.current(inventory.read(tree)[0]))


@pytest.mark.parametrize(("damaged", "ends"), [(100, False), (101, True)])
def test_many_unreadable_files_end_the_verification(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, damaged: int, ends: bool
) -> None:
    files = {f"models/x/v1/{number:03}.bin": b"1" for number in range(101)}
    publish(tree, "x", "v1", "teacher", files, producer=record("train", "x", "v1", "teacher"))
    documents.write(tree)
    fail_reading(monkeypatch, "sha256", PokeflowError("no route to host"), *sorted(files)[:damaged])
    if ends:
        with pytest.raises(PokeflowError, match="no route to host"):
            verify(tree)
    else:
        kinds = [problem.kind for problem in verify(tree).problems]
        assert kinds == ["unreadable"] * 100


def test_conflict_is_reported_with_both_checksums(tree: Tree) -> None:
    expected = checksum(where(tree, ONNX).read_bytes())
    write_unit(tree, PublishedFile(ONNX, 7000, "0" * 64, "s3://x", fixed=True))
    problem = only(tree)
    assert (problem.path, problem.expected, problem.found) == (ONNX, "0" * 64, expected)


def test_unversioned_file_may_be_listed_twice(tree: Tree) -> None:
    write_unit(tree, PublishedFile(CONFIG, 9, "0" * 64, "s3://x", fixed=False))
    assert verify(tree).problems == ()


def test_files_of_a_receipt_are_not_checked_against_its_schema(tree: Tree) -> None:
    """One message for the file is enough: its checksum differs."""
    write_unit(tree, PublishedFile("models/x/v1/a", 1, "not hexadecimal", "s3://x", fixed=True))
    lay(tree, "models/x/v1/a", b"1")
    assert (only(tree).kind, only(tree).expected) == ("altered", "not hexadecimal")


def test_unknown_document_is_named_without_control_characters(tree: Tree) -> None:
    write_unit(tree, published_document(tree, "models/x/v1/a", "\x1b[31mred", b"{}"))
    assert only(tree).message == "its receipt names an unknown document '\N{REPLACEMENT CHARACTER}[31mred'"


def test_well_known_document_of_a_missing_plugin_is_known(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write_unit(tree, published_document(tree, "models/x/v1/metrics.json", "metrics", b"anything"))
    monkeypatch.setattr(verifying, "document_kinds", dict)
    monkeypatch.setattr(documents, "document_kinds", dict)
    monkeypatch.setattr(verifying, "kinds_of", lambda scope: {})
    assert verify(tree).problems == ()


def test_document_that_is_removed_during_verification_is_skipped(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write_unit(tree, published_document(tree, "models/x/v1/metrics.json", "metrics", b"{}"))
    fail_reading(monkeypatch, "read", NotFoundError("gone"), "models/x/v1/metrics.json")
    assert verify(tree).problems == ()


def test_document_that_cannot_be_read_is_reported(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write_unit(tree, published_document(tree, "models/x/v1/metrics.json", "metrics", b"{}"))
    fail_reading(monkeypatch, "read", PokeflowError("Input/output error"), "models/x/v1/metrics.json")
    assert only(tree) == Problem("unreadable", "models/x/v1/metrics.json", "Input/output error")


def test_project_document_that_cannot_be_read_is_reported_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the comparison of documents that are built from it."""
    fail_reading(monkeypatch, "read", PokeflowError("Input/output error"), HISTORY)
    assert only(tree) == Problem("unreadable", HISTORY, "Input/output error")


def test_tree_without_receipts_has_no_stale_documents(tree: Tree) -> None:
    for file in where(tree, "metadata/receipts").rglob("*.json"):
        file.unlink()
    assert {problem.kind for problem in verify(tree).problems} == {"orphaned"}


def test_document_that_was_never_written_is_missing(tree: Tree) -> None:
    where(tree, MANIFEST).unlink()
    assert only(tree) == Problem("missing", MANIFEST, "does not exist yet. Run 'pokeflow publish' to write it.")


def test_document_of_a_version_is_not_built_again(tree: Tree) -> None:
    """Only the project's documents are built from the receipts that exist now."""
    leaves = tuple(leaf for leaf in tree.leaves if leaf.document not in ("project_manifest", "model_lineage"))
    changed = replace(tree, leaves=(*leaves, replace(tree.leaves[0], model="dinov3-teacher")))
    where(tree, MANIFEST).unlink()
    where(tree, "metadata/model_lineage.json").unlink()
    assert verify(changed).problems == ()


@pytest.mark.parametrize("quick", [False, True])
def test_project_documents_are_checked_even_if_quick(tree: Tree, quick: bool) -> None:
    where(tree, MANIFEST).write_text("{")
    assert (only(tree, quick=quick).kind, only(tree, quick=quick).path) == ("invalid", MANIFEST)


def invalidate(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    where(tree, HISTORY).write_text("{")


def remove(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    where(tree, HISTORY).unlink()


def fail_to_build(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "build", raise_for("training_history", ValueError("x")))


@pytest.mark.parametrize(("damage", "kind"), [(invalidate, "invalid"), (remove, "missing"), (fail_to_build, "invalid")])
def test_one_faulty_document_hides_no_other(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, damage: Callable[..., None], kind: str
) -> None:
    """The lineage reads the history here, so that it cannot be built if the history is invalid."""
    kinds = kinds_of("project")
    names = ["training_history", "model_lineage", "performance_benchmarks"]
    kinds["model_lineage"] = replace(kinds["model_lineage"], reads=("training_history",))
    monkeypatch.setattr(verifying, "kinds_of", lambda scope: {name: kinds[name] for name in names})
    path = "metadata/performance_benchmarks.json"
    content = json.loads(where(tree, path).read_text())
    where(tree, path).write_text(json.dumps({**content, "project": "other"}))
    damage(tree, monkeypatch)
    assert [(problem.kind, problem.path) for problem in verify(tree).problems] == [(kind, HISTORY), ("stale", path)]


def built_with(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change the kind of the project's manifest."""
    kinds = {**kinds_of("project")}
    kinds["project_manifest"] = replace(kinds["project_manifest"], **changes)
    monkeypatch.setattr(verifying, "kinds_of", lambda scope: kinds)


@pytest.mark.parametrize("derived", [True, False])
def test_document_is_built_from_what_its_kind_may_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, derived: bool
) -> None:
    inputs = []
    kind = kinds_of("project")["project_manifest"]

    def build(project: Any) -> Any:
        inputs.append(project)
        return kind(project)

    built_with(monkeypatch, build=build, derived=derived, reads=("training_history", "nosuch"))
    assert verify(tree).problems == ()
    (project,) = inputs
    assert project.about == tree.about
    assert project.receipts == inventory.read(tree)[0]
    assert project.old == (None if derived else json.loads(where(tree, MANIFEST).read_text()))
    assert project.documents == {"training_history": json.loads(where(tree, HISTORY).read_text())}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such day"), "ValueError: no such day"),
        (PokeflowError("damaged. Run 'pokeflow verify'."), "damaged."),
        (PokeflowError("Run 'pokeflow verify'. First"), "Run 'pokeflow verify'. First"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_error_of_a_builder_is_shown_without_advice(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(documents, "build", raise_for("project_manifest", error))
    assert only(tree) == Problem("invalid", MANIFEST, f"cannot be built from the receipts: {message}")


def raise_for(name: str, error: Exception) -> Callable[..., Any]:
    """Return ``documents.build`` that fails for one kind."""
    real = documents.build

    def build(kind: DocumentKind, project: Any) -> Any:
        if kind.name == name:
            raise error
        return real(kind, project)

    return build


@pytest.mark.parametrize(
    ("actual", "expected", "difference"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({}, {"a": 1}, "$.a is missing"),
        ({"a": 1, "b": 2}, {"a": 1}, "$.b is not expected"),
        ({"b": 2}, {"a": 1}, "$.a is missing"),
        ({"a": 2, "b": 1}, {"a": 1}, "$.a is 2, should be 1"),
        ({"a": {"b": [1, 2, 3]}}, {"a": {"b": [1, 5, 6]}}, "$.a.b[1] is 2, should be 5"),
        ([{"a": 1}], [{"a": 1}], None),
        ([1, 2], [1], "$ is 2 entries, should be 1 entry"),
        ([1], {"a": 1}, "$ is 1 entry, should be 1 entry"),
        ({"a": []}, {"a": None}, "$.a is 0 entries, should be null"),
        ({"a": 1}, None, "$ is 1 entry, should be null"),
        (None, {"a": 1}, "$ is null, should be 1 entry"),
        ("x", [1], '$ is "x", should be 1 entry'),
        ([1], "x", '$ is 1 entry, should be "x"'),
        (1, 1.0, "$ is 1, should be 1.0"),
        (True, 1, "$ is true, should be 1"),
        ("é", "e", '$ is "é", should be "e"'),
        ("x" * 58, "", f'$ is "{"x" * 58}", should be ""'),
        ("x" * 59, "", f'$ is "{"x" * 56}…, should be ""'),
    ],
)
def test_first_difference_of_two_documents(actual: Any, expected: Any, difference: str | None) -> None:
    assert verifying._first_difference(actual, expected) == difference


def lay_link(tree: Tree, data: bytes) -> None:
    """Write a link of the layout that no receipt lists."""
    lay(tree, "data/raw/link.json", data)


def linked_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"12345")
    return folder


def folder_link(folder: Path, size: int | None, files: int | None, **more: Any) -> bytes:
    """Return a link to a folder outside of the store, whose content has no hash."""
    fields = {"fingerprint": None, "size": size, "files": files, "select": more.get("select")}
    reasons = {name: "unknown" for name, value in fields.items() if value is None}
    return link(f"{folder.as_uri()}/", None, size, files, relative=False, reasons=reasons, **more)


@pytest.mark.parametrize(
    ("size", "files", "difference"),
    [
        (5, 1, None),
        (None, None, None),
        (6, 1, ("has 5 B, the link says 6", 6, 5)),
        (5, 2000, ("has 1 file, the link says 2,000", 2000, 1)),
    ],
)
def test_recorded_totals_of_a_link_are_compared(
    tree: Tree, tmp_path: Path, size: int | None, files: int | None, difference: tuple[str, int, int] | None
) -> None:
    folder = linked_folder(tmp_path)
    lay_link(tree, folder_link(folder, size, files))
    problems = [(p.kind, p.path, p.message, p.expected, p.found) for p in verify(tree).problems]
    expected = difference and [
        ("dangling", "data/raw/link.json", f"{folder.as_uri()}/ {difference[0]}", difference[1], difference[2])
    ]
    assert problems == (expected or [])


def test_totals_of_a_selection_are_not_compared(tree: Tree, tmp_path: Path) -> None:
    lay_link(tree, folder_link(linked_folder(tmp_path), 6, 2, select={"set": "base1"}))
    assert verify(tree).problems == ()


def test_link_that_violates_its_schema_is_invalid(tree: Tree, tmp_path: Path) -> None:
    lay_link(tree, folder_link(linked_folder(tmp_path), -1, 1))
    kinds = [(problem.kind, problem.path, problem.message) for problem in verify(tree).problems]
    assert ("invalid", "data/raw/link.json", "$.size: -1 is less than the minimum of 0") in kinds


def test_damaged_link_is_reported_once_without_its_path(tree: Tree) -> None:
    lay_link(tree, b"{")
    problems = [problem for problem in verify(tree).problems if "not a valid link" in problem.message]
    assert [(problem.kind, problem.path) for problem in problems] == [("invalid", "data/raw/link.json")]
    assert problems[0].message.startswith("not a valid link")


def test_link_that_is_removed_during_verification_is_skipped(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_link(tree, b"{")
    fail_reading(monkeypatch, "read", NotFoundError("gone"), "data/raw/link.json")
    assert verify(tree).problems == ()


def test_link_to_nothing_is_reported_without_its_path(tree: Tree, tmp_path: Path) -> None:
    lay_link(tree, folder_link(tmp_path / "nothing", 5, 1))
    target = f"{(tmp_path / 'nothing').as_uri()}/"
    message = f"its target, {target}, does not exist. Publish again."
    assert only(tree) == Problem("dangling", "data/raw/link.json", message)


def task_folder(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "store" / "tasks").rglob("record.json")
    return file.parent


def test_target_whose_record_was_edited_is_reported(tree: Tree, tmp_path: Path) -> None:
    file = task_folder(tmp_path) / "record.json"
    fields = json.loads(file.read_text())
    fields["files"][0]["sha256"] = "0" * 64
    file.write_text(json.dumps(fields))
    target = f"tasks/prepare/data/{fields['digest']}/"
    expected = f"the files of the record at {target} do not match its content hash"
    assert Problem("dangling", PROCESSED, expected) in verify(tree).problems


def test_target_with_other_content_is_reported_with_both_hashes(tree: Tree, tmp_path: Path) -> None:
    fields = json.loads(where(tree, PROCESSED).read_text())
    data = json.dumps({**fields, "fingerprint": "other"}).encode()
    lay(tree, PROCESSED, data)
    old = receipts.read(tree.objects, "data")
    assert old is not None
    files = [replace(f, size=len(data), sha256=checksum(data)) if f.path == PROCESSED else f for f in old[0].files]
    write_receipt(tree, replace(old[0], files=tuple(files)))
    content = json.loads((task_folder(tmp_path) / "record.json").read_text())["content"]
    message = f"{fields['target']} is {content} now, but was other when it was linked"
    assert only(tree) == Problem("dangling", PROCESSED, message, "other", content)


def test_target_file_of_another_size_is_reported(tree: Tree, tmp_path: Path) -> None:
    (task_folder(tmp_path) / "cards.csv").write_bytes(b"x" * 1001)
    target = json.loads(where(tree, PROCESSED).read_text())["target"]
    message = f"{target}: cards.csv has 1,001 B, recorded 23 B"
    assert only(tree) == Problem("dangling", PROCESSED, message)
