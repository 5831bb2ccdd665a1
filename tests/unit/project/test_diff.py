"""Compare a publication with a tree by its listing: only files newer than their receipt are read."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.digest import sha256
from pokeflow.objects._folder import Folder
from pokeflow.project import _diff as diff
from pokeflow.project import receipts
from pokeflow.project.receipts import PublishedFile, Receipt

PATH = "models/m/v1/model.txt"
KEY = "metadata/receipts/models/m/v1.json"
RECEIPT_TIME = 1_700_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "tree")


def item_of(tmp_path: Path, text: str) -> diff.Item:
    """Return a file to publish that holds this text."""
    source = tmp_path / f"source-{text}"
    source.write_text(text)
    placed = PublishedFile(PATH, len(text), sha256(source), "train:m/model.txt", True)
    return diff.Item(placed, source)


def state_of(tree: Folder, published: diff.Item, item: diff.Item, text: str, *, age: int) -> str:
    """Publish one file, let it hold ``text`` ``age`` seconds before its receipt was written, and compare another."""
    receipt = Receipt("models/m/v1", (published.published,), model="m", version="v1")
    receipts.put(tree, receipt)
    tree.write(PATH, text.encode(), match=None)
    os.utime(tree.path(PATH), (RECEIPT_TIME - age,) * 2)
    os.utime(tree.path(KEY), (RECEIPT_TIME,) * 2)
    entry, mark = tree.stat(PATH), tree.stat(KEY)
    return diff._change(tree, item, entry, receipt, mark).state


@pytest.mark.parametrize("age", [0, 60])
def test_file_not_newer_than_its_receipt_is_not_read(tree, tmp_path, age, monkeypatch) -> None:
    item = item_of(tmp_path, "weights")
    monkeypatch.setattr(diff, "checksum", lambda *_: pytest.fail("it was read"))
    assert state_of(tree, item, item, "WEIGHTS", age=age) == "same"
    assert state_of(tree, item, item_of(tmp_path, "another"), "weights", age=age) == "changed"


def test_file_rewritten_with_the_same_bytes_is_the_same(tree, tmp_path) -> None:
    item = item_of(tmp_path, "weights")
    assert state_of(tree, item, item, "weights", age=-60) == "same"


@pytest.mark.parametrize("text", ["WEIGHTS", "weights!"])
def test_a_file_that_was_changed_after_its_receipt_is_altered(tree, tmp_path, text) -> None:
    item = item_of(tmp_path, "weights")
    assert state_of(tree, item, item, text, age=-60) == "altered"


@pytest.mark.parametrize("age", [60, -60])
def test_file_of_another_size_is_altered_at_any_age(tree, tmp_path, age) -> None:
    item = item_of(tmp_path, "weights")
    assert state_of(tree, item, item, "cut", age=age) == "altered"


def test_altered_file_with_new_content_to_publish_is_changed(tree, tmp_path) -> None:
    assert state_of(tree, item_of(tmp_path, "weights"), item_of(tmp_path, "another"), "WEIGHTS", age=-60) == "changed"


def test_file_equal_to_the_new_content_is_the_same(tree, tmp_path) -> None:
    assert state_of(tree, item_of(tmp_path, "weights"), item_of(tmp_path, "another"), "another", age=-60) == "same"


def test_file_without_a_receipt_is_compared_by_its_bytes(tree, tmp_path) -> None:
    item = item_of(tmp_path, "weights")
    assert diff._change(tree, item, None, None, None).state == "new"
    for text, state in (("weights", "same"), ("WEIGHTS", "changed"), ("cut", "changed")):
        etag = tree.write(PATH, text.encode(), match=None)
        change = diff._change(tree, item, tree.stat(PATH), None, None)
        assert (change.state, change.etag) == (state, etag)


def test_checksum_recorded_by_the_storage_is_not_computed(tree, monkeypatch) -> None:
    assert diff.checksum(tree, PATH) is None
    tree.write(PATH, b"weights", match=None)
    entry = tree.stat(PATH)
    monkeypatch.setattr(Folder, "stat", lambda *_: replace(entry, sha256="recorded"))
    monkeypatch.setattr(Folder, "sha256", lambda *_: pytest.fail("it was read"))
    assert diff.checksum(tree, PATH) == "recorded"
