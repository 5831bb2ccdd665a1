"""Verify links to data: follow them, report dangling ones, and refuse hostile ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.project import inventory
from pokeflow.project.tree import Tree
from pokeflow_browse.verify import Problem, verify
from pokeflow_testkit.handmade import checksum, lay, link, published, where, write_receipt

PROCESSED = "data/processed/link.json"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return published(tmp_path)


def only(tree: Tree, *, quick: bool = False) -> Problem:
    """Return the only problem of the tree."""
    (problem,) = verify(tree, quick=quick).problems
    return problem


def data_folder(tree: Tree, tmp_path: Path) -> Path:
    (record_file,) = (tmp_path / "store" / "tasks").rglob("record.json")
    return record_file.parent


def test_links_to_a_removed_data_set_are_dangling(tree: Tree, tmp_path: Path) -> None:
    (data_folder(tree, tmp_path) / "record.json").unlink()
    problems = verify(tree).problems
    assert [(p.kind, p.path) for p in problems] == [("dangling", PROCESSED), ("dangling", "data/reference/link.json")]
    assert "its target, tasks/prepare/data/" in problems[0].message


def test_missing_file_of_a_target_is_reported(tree: Tree, tmp_path: Path) -> None:
    (data_folder(tree, tmp_path) / "cards.csv").unlink()
    problem = only(tree)
    assert (problem.kind, problem.path) == ("dangling", PROCESSED)
    assert problem.message.endswith("cards.csv is missing")


def relink(tree: Tree, **more: object) -> None:
    """Replace the link of data/processed, and its receipt."""
    fields = json.loads(where(tree, PROCESSED).read_text()) | more
    data = json.dumps(fields).encode()
    lay(tree, PROCESSED, data)
    receipt = next(r for r in inventory.read(tree)[0] if r.unit == "data")
    files = [replace(f, size=len(data), sha256=checksum(data)) if f.path == PROCESSED else f for f in receipt.files]
    write_receipt(tree, replace(receipt, files=tuple(files)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fingerprint": "other"}, "but was other when it was linked"),
        ({"size": 5}, "has 279 B, the link says 5"),
        ({"files": 9}, "has 2 files, the link says 9"),
        ({"target": "tasks/prepare/data/0000000000000000/"}, "is not a finished task"),
    ],
)
def test_link_that_differs_from_its_target_is_dangling(tree: Tree, changed: dict[str, object], message: str) -> None:
    relink(tree, **changed)
    problem = only(tree)
    assert problem.kind == "dangling"
    assert message in problem.message


@pytest.mark.parametrize(
    ("target", "relative"),
    [
        ("../../../../etc/", True), ("/etc/", True), ("tasks/../../x", True), ("file:///etc/../root/", False),
        ("http://example.org/data/", False), ("ftp://x/y", False), ("relative/path", False), ("file:///", False),
        ("file://machine/etc/", False), ("s3:///x", False), ("s3://user:word@bucket/x", False), ("", True),
        ("", False), ("s3://bucket/a/../../b", False), ("file:///a/%2e%2e/b/", False), ("/etc/../root/", False),
    ],
)  # fmt: skip
def test_a_hostile_link_is_invalid_and_never_followed(
    tree: Tree, target: str, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pokeflow.project import links

    relink(tree, target=target, relative=relative)
    monkeypatch.setattr(links, "follow", lambda *args: pytest.fail("followed"))
    where(tree, "data/reference/link.json").unlink()
    problems = {problem.path: problem for problem in verify(tree).problems}
    assert problems[PROCESSED].kind == "invalid"
    assert "not a valid link" in problems[PROCESSED].message


def test_link_to_a_folder_outside_the_store_is_followed(tree: Tree, tmp_path: Path) -> None:
    raw = tmp_path / "my cards"
    raw.mkdir()
    (raw / "a.jpg").write_bytes(b"12345")
    more = {"relative": False, "reasons": {"select": "all of it", "fingerprint": "none"}}
    lay(tree, "data/raw/link.json", link(raw.as_uri() + "/", None, 5, 1, **more))
    assert verify(tree).problems == ()
    lay(tree, "data/raw/link.json", link(f"{raw}/", None, 5, 1, **more))
    assert verify(tree).problems == ()
    (raw / "b.jpg").write_bytes(b"")
    assert only(tree).message == f"{raw}/ has 2 files, the link says 1"
