"""Test verify: every fault of a published tree is reported, and nothing outside the tree is read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.cli import dispatch
from pokeflow.errors import PokeflowError
from pokeflow.objects._folder import Folder
from pokeflow.project import _publish as publishing
from pokeflow.project import documents, inventory
from pokeflow.project import tree as trees
from pokeflow.project._kinds import kinds_of
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow_browse import configured
from pokeflow_browse import verify as verifying
from pokeflow_browse.configured import NOTHING
from pokeflow_browse.verify import Problem, verify
from pokeflow_testkit.handmade import checksum, empty, in_bucket, lay, publish, published, record, where, write_receipt
from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import run_flow, toy_flow

ONNX = "models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx"
TEACHER = "metadata/receipts/models/dinov3-teacher/v1.0.json"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return published(tmp_path)


def only(tree: Tree, *, quick: bool = False) -> Problem:
    """Return the only problem of a tree."""
    (problem,) = verify(tree, quick=quick).problems
    return problem


@pytest.mark.parametrize("quick", [False, True])
def test_sound_tree_has_no_problem(tree: Tree, quick: bool) -> None:
    verdict = verify(tree, quick=quick)
    assert verdict.problems == ()
    assert (verdict.files, verdict.receipts, verdict.links) == (8, 5, 2)


def test_missing_tree_is_a_problem(tmp_path: Path) -> None:
    problem = only(empty(tmp_path))
    assert (problem.kind, problem.message) == ("missing", NOTHING)


@pytest.mark.parametrize("command", [["pull", "x"], ["find", "x"], ["verify"]])
def test_commands_say_that_nothing_is_published(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = empty(tmp_path)
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    expected = f"{tree.objects.uri}: nothing is published here yet. Run 'pokeflow publish', or check the address."
    if command == ["verify"]:
        assert dispatch(command) == 1
        assert capsys.readouterr().out == f"{expected}\n"
    else:
        with pytest.raises(PokeflowError) as error:
            dispatch(command)
        assert str(error.value) == f"{command[0]}: {expected}"


def test_verify_writes_nothing(tree: Tree) -> None:
    before = {file: file.stat().st_mtime_ns for file in where(tree).rglob("*")}
    verify(tree)
    assert {file: file.stat().st_mtime_ns for file in where(tree).rglob("*")} == before


def test_flipped_byte_is_reported_with_both_checksums(tree: Tree) -> None:
    data = bytearray(where(tree, ONNX).read_bytes())
    expected = checksum(bytes(data))
    data[3000] ^= 1
    where(tree, ONNX).write_bytes(data)
    problem = only(tree)
    assert (problem.kind, problem.path) == ("altered", ONNX)
    assert (problem.expected, problem.found) == (expected, checksum(bytes(data)))
    assert problem.message == f"sha256 {problem.found}, published with {expected} by dinov3-teacher v1.0"
    assert verify(tree, quick=True).problems == ()


@pytest.mark.parametrize("quick", [False, True])
def test_truncated_file_is_reported_with_both_sizes(tree: Tree, quick: bool) -> None:
    where(tree, ONNX).write_bytes(b"teacher")
    problem = only(tree, quick=quick)
    assert (problem.kind, problem.expected, problem.found) == ("altered", 7000, 7)


def test_deleted_file_is_missing(tree: Tree) -> None:
    where(tree, ONNX).unlink()
    problem = only(tree)
    assert (problem.kind, problem.path, problem.message) == ("missing", ONNX, "listed by dinov3-teacher v1.0")


def test_link_instead_of_a_file_is_not_followed(tree: Tree) -> None:
    where(tree, ONNX).unlink()
    where(tree, ONNX).symlink_to("/etc/passwd")
    assert only(tree).kind == "missing"


def test_unreadable_file_is_reported_and_others_are_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Folder.sha256

    def failing(self: Folder, key: str, **more: object) -> str:
        if key == ONNX:
            raise PokeflowError(f"{key}: Input/output error.")
        return real(self, key, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Folder, "sha256", failing)
    assert (only(tree).kind, only(tree).message) == ("unreadable", f"{ONNX}: Input/output error.")


def test_unlisted_file_is_an_orphan(tree: Tree) -> None:
    lay(tree, "models/dinov3-teacher/v1.0/onnx/other.onnx", b"?")
    lay(tree, "experiments/mlflow/toy/run_2/meta.yaml", b"run: 2")
    problem = only(tree)
    assert (problem.kind, problem.path) == ("orphaned", "models/dinov3-teacher/v1.0/onnx/other.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unit": 3}', "\x00", '{"unit": "models/other/v1.0", "files": []}'])
def test_damaged_receipt_is_reported_with_its_orphans(tree: Tree, text: str) -> None:
    where(tree, TEACHER).write_text(text)
    problems = verify(tree).problems
    assert [(problem.kind, problem.path) for problem in problems] == [
        ("invalid", TEACHER),
        ("orphaned", "models/dinov3-teacher/training_config.json"),
        ("orphaned", ONNX),
    ]
    assert problems[0].message.startswith("not a valid receipt")


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "/etc/passwd", "models/../../x", "", "a//b", "a\\..\\b", "a\nb"]
)
def test_receipt_with_a_path_outside_is_refused_and_not_read(
    tree: Tree, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = Receipt("migrations/x", (PublishedFile(path, 1, "0" * 64, "s3://x", fixed=True),), origin="s3://x")
    write_receipt(tree, hostile)
    read = []
    real = Folder.sha256
    monkeypatch.setattr(Folder, "sha256", lambda self, key, **more: read.append(key) or real(self, key, **more))
    problem = only(tree)
    assert (problem.kind, problem.path) == ("invalid", "metadata/receipts/migrations/x.json")
    assert "is not a valid key" in problem.message
    assert path not in read


def test_newest_receipt_of_an_unversioned_path_counts(tree: Tree) -> None:
    config = "models/dinov3-teacher/training_config.json"
    publish(
        tree, "dinov3-teacher", "v1.1", "teacher", {config: b'{"lr": 1}\n'},
        producer=record("train", "dinov3-teacher", "v1.1", "teacher", day=25),
    )  # fmt: skip
    documents.write(tree)
    assert verify(tree).problems == ()
    lay(tree, config, b"{}\n")
    assert "by dinov3-teacher v1.1" in only(tree).message


def test_conflicting_receipts_of_a_versioned_file_are_reported(tree: Tree) -> None:
    (teacher,) = (r for r in inventory.read(tree)[0] if r.model == "dinov3-teacher")
    stolen = replace(next(f for f in teacher.files if f.fixed), sha256="0" * 64)
    write_receipt(tree, Receipt("migrations/a", (stolen,), origin="s3://x"))
    documents.write(tree)
    problem = only(tree)
    assert problem.kind == "invalid"
    assert problem.message == "migrations/a and dinov3-teacher v1.0 both list this file, with different checksums"


def test_stale_document_is_reported_with_the_difference(tree: Tree) -> None:
    path = "metadata/project_manifest.json"
    content = json.loads(where(tree, path).read_text())
    content["models"]["dinov3-teacher"]["version"] = "v0.9"
    where(tree, path).write_text(json.dumps(content))
    problem = only(tree)
    assert (problem.kind, problem.path) == ("stale", path)
    assert problem.message.startswith(
        '$.models.dinov3-teacher.version is "v0.9", should be "v1.0"; \'pokeflow publish\''
    )


def test_documents_without_the_newest_version_are_stale(tree: Tree) -> None:
    publish(
        tree, "dinov3-teacher", "v1.1", "teacher", {"models/dinov3-teacher/v1.1/a.onnx": b"new"},
        producer=record("train", "dinov3-teacher", "v1.1", "teacher", day=25),
    )  # fmt: skip
    problems = verify(tree).problems
    assert {problem.kind for problem in problems} == {"stale"}
    assert len(problems) == 4
    documents.write(tree)
    assert verify(tree).problems == ()


def test_deleted_document_is_missing(tree: Tree) -> None:
    where(tree, "metadata/model_lineage.json").unlink()
    assert (only(tree).kind, only(tree).path) == ("missing", "metadata/model_lineage.json")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"project": 3}'])
def test_document_that_violates_its_schema_is_invalid(tree: Tree, text: str) -> None:
    path = "metadata/performance_benchmarks.json"
    where(tree, path).write_text(text)
    problems = verify(tree).problems
    assert {(problem.kind, problem.path) for problem in problems} == {("invalid", path)}


def test_damaged_history_is_reported(tree: Tree) -> None:
    path = "metadata/training_history.json"
    where(tree, path).write_text('{"runs": [{"id": 1}], "project": "pokemon", "schema_version": 1}')
    assert {(problem.kind, problem.path) for problem in verify(tree).problems} == {("invalid", path)}


def alter_receipt(tree: Tree, **changes: object) -> None:
    """Change the record in the teacher's receipt file, as damage would."""
    content = json.loads(where(tree, TEACHER).read_text())
    content["records"][0].update(changes)
    where(tree, TEACHER).write_text(json.dumps(content))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["nosuch", "", "../nosuch", "/etc/passwd", "receipt", "link.schema"])
@pytest.mark.parametrize("path", ["models/dinov3-teacher/training_config.json", ONNX])
def test_receipt_with_an_unknown_document_kind_is_reported(tree: Tree, path: str, name: str, quick: bool) -> None:
    content = json.loads(where(tree, TEACHER).read_text())
    next(file for file in content["files"] if file["path"] == path)["source"] = f"document:{name}"
    where(tree, TEACHER).write_text(json.dumps(content))
    problem = only(tree, quick=quick)
    assert (problem.kind, problem.path) == ("invalid", path)
    assert problem.message == f"its receipt names an unknown document {name!r}"


def test_document_that_is_not_json_has_no_schema(tree: Tree) -> None:
    content = json.loads(where(tree, TEACHER).read_text())
    content["files"][0]["source"] = "document:model_card"
    where(tree, TEACHER).write_text(json.dumps(content))
    assert verify(tree).problems == ()


@pytest.mark.parametrize("moment", ["soon", "", "2026-13-41T99:00:00+00:00", "\u0000"])
@pytest.mark.parametrize("quick", [False, True])
def test_record_with_an_invalid_time_is_reported(tree: Tree, moment: str, quick: bool) -> None:
    alter_receipt(tree, finished=moment, started=moment)
    problems = verify(tree, quick=quick).problems
    assert ("invalid", "metadata/project_manifest.json") in {(problem.kind, problem.path) for problem in problems}
    assert {problem.kind for problem in problems} <= {"invalid", "stale"}
    assert not [problem for problem in problems if "pokeflow verify" in problem.message]


def test_receipt_with_an_invalid_time_is_named(tree: Tree) -> None:
    alter_receipt(tree, finished="soon")
    messages = {problem.path: problem.message for problem in verify(tree).problems if problem.kind == "invalid"}
    assert messages[TEACHER].startswith("$.records[0].finished: 'soon' does not match")
    assert messages["metadata/project_manifest.json"].startswith("cannot be built from the receipts: invalid timestamp")


@pytest.mark.parametrize(
    "error", [ValueError("x"), TypeError("x"), KeyError("x"), AttributeError("x"), PokeflowError("x")]
)
def test_error_while_building_a_document_is_reported(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: object) -> dict[str, object]:
        raise error

    kinds = {**kinds_of("project")}
    kinds["model_lineage"] = replace(kinds["model_lineage"], build=failing)
    monkeypatch.setattr(verifying, "kinds_of", lambda scope: kinds)
    problem = only(tree)
    assert (problem.kind, problem.path) == ("invalid", "metadata/model_lineage.json")
    assert problem.message.startswith("cannot be built from the receipts: ")


def test_command_reports_problems_of_a_nonsensical_receipt(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    alter_receipt(tree, finished="soon", params={"losses": 3}, facts={"parameters": "many", "tags": None})
    assert dispatch(["verify"]) == 1
    shown = capsys.readouterr().out
    assert "invalid  metadata/project_manifest.json" in shown
    assert "Run 'pokeflow verify'" not in shown


def test_published_tree_is_sound(tmp_path: Path) -> None:
    flow = toy_flow(tmp_path / "store")
    publishing.publish(flow, run_flow(flow))
    verdict = verify(trees.open_tree(flow))
    assert verdict.problems == ()
    assert verdict.receipts == 3
    lost = next(placed for receipt in inventory.read(trees.open_tree(flow))[0] for placed in receipt.files)
    where(trees.open_tree(flow), lost.path).unlink()
    assert only(trees.open_tree(flow)).path == lost.path


def test_bucket_is_verified_like_a_folder(tree: Tree, s3: Server) -> None:
    remote = in_bucket(tree, s3)
    assert verify(remote).problems == ()
    remote.objects.write(ONNX, b"teachar" * 1000, match=None)
    remote.objects.delete("models/dinov3-teacher/training_config.json")
    kinds = {problem.path: problem.kind for problem in verify(remote).problems}
    assert kinds == {ONNX: "altered", "models/dinov3-teacher/training_config.json": "missing"}


def test_quick_verify_of_a_bucket_requests_no_file(tree: Tree, s3: Server) -> None:
    remote = in_bucket(tree, s3)
    before = len(s3.counts()["log"])
    assert verify(remote, quick=True).problems == ()
    requests = s3.counts()["log"][before:]
    assert not [key for _, key, _ in requests if key.endswith((".onnx", ".hef"))]
    assert "HeadObject" not in {operation for operation, _, _ in requests}


def test_command_reports_problems_and_totals(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    assert dispatch(["verify"]) == 0
    output = "8 files (14.64 kB, every byte read) of 5 receipts, 4 documents, 2 links: 0 problems.\n"
    assert capsys.readouterr().out == output
    where(tree, ONNX).unlink()
    lay(tree, "stray", b"")
    assert dispatch(["verify", "--quick"]) == 1
    shown = capsys.readouterr().out
    assert "missing   models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx  listed by dinov3-teacher v1.0" in shown
    assert "missing: listed in a receipt, but does not exist" in shown
    assert "2 links: 2 problems." in shown
    assert dispatch(["verify", "--json"]) == 1
    output = json.loads(capsys.readouterr().out)
    assert output["ok"] is False
    assert [problem["kind"] for problem in output["problems"]] == ["missing", "orphaned"]
