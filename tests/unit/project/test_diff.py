"""Compare a publication with a tree by its listing: only files newer than their receipt are read."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.digest import sha256
from pokeflow.objects._folder import Folder
from pokeflow.project import _diff as diff
from pokeflow.project import receipts
from pokeflow.project._artifacts import Publication
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow_testkit.handmade import checksum, record

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


def test_file_that_no_receipt_lists_is_compared_by_its_bytes(tree, tmp_path) -> None:
    receipts.put(tree, Receipt("models/m/v1", (), model="m", version="v1"))
    tree.write(PATH, b"weights", match=None)
    os.utime(tree.path(PATH), (RECEIPT_TIME,) * 2)
    receipt, mark = receipts.read(tree, "models/m/v1")[0], tree.stat(KEY)
    assert diff._change(tree, item_of(tmp_path, "weights"), tree.stat(PATH), receipt, mark).state == "same"
    assert diff._change(tree, item_of(tmp_path, "another"), tree.stat(PATH), receipt, mark).state == "changed"


def test_checksum_recorded_by_the_storage_is_not_computed(tree, monkeypatch) -> None:
    assert diff.checksum(tree, PATH) is None
    tree.write(PATH, b"weights", match=None)
    entry = tree.stat(PATH)
    monkeypatch.setattr(Folder, "stat", lambda *_: replace(entry, sha256="recorded"))
    monkeypatch.setattr(Folder, "sha256", lambda *_: pytest.fail("it was read"))
    assert diff.checksum(tree, PATH) == "recorded"


CONFIG = "models/m/config.json"


def text_item(path: str, text: str, *, source: str = "train:m/model.txt", fixed: bool = True) -> diff.Item:
    """Return a file to publish whose bytes are in memory."""
    return diff.Item(PublishedFile(path, len(text), checksum(text.encode()), source, fixed), text.encode())


def publication(*items: diff.Item, version: str = "v1", day: int = 10, digest: str = "d1") -> Publication:
    """Return a version to publish, trained on a day of January 2026."""
    files = tuple(sorted((item.published for item in items), key=lambda file: file.path))
    records = (record("train", "m", version, day=day),)
    unit = receipts.unit("m", version)
    return Publication(Receipt(unit, files, "m", version, digest=digest, content=digest, records=records), items)


def publish(tree: Folder, *publications: Publication) -> None:
    """Write the files of publications and then their receipts."""
    for each in publications:
        for item in each.items:
            assert isinstance(item.source, bytes)
            tree.write(item.published.path, item.source, match=None)
        receipts.put(tree, each.receipt)


def compare_one(tree: Folder, published: Publication) -> diff.Comparison:
    (comparison,) = diff.compare(tree, [published])
    return comparison


def states_of(comparison: diff.Comparison) -> dict[str, str]:
    return {change.item.published.path: change.state for change in comparison.changes}


def test_publication_is_new_then_complete(tree) -> None:
    version = publication(text_item(PATH, "weights"), text_item(CONFIG, "{}", fixed=False))
    before = compare_one(tree, version)
    assert (before.publication, before.complete, before.refused) == (version, False, ())
    assert before.to_send == before.changes
    assert [(change.item, change.state, change.etag) for change in before.changes] == [
        (item, "new", "") for item in version.items
    ]
    publish(tree, version)
    after = compare_one(tree, version)
    assert (after.publication.items, after.complete, after.to_send) == (version.items, True, ())
    entries = [tree.stat(item.published.path) for item in version.items]
    assert [(change.state, change.etag) for change in after.changes] == [("same", entry.etag) for entry in entries]


def test_version_with_one_more_file_is_incomplete(tree) -> None:
    publish(tree, publication(text_item(PATH, "weights")))
    comparison = compare_one(tree, publication(text_item(PATH, "weights"), text_item(CONFIG, "{}", fixed=False)))
    assert states_of(comparison) == {PATH: "same", CONFIG: "new"}
    assert not comparison.complete


def test_changed_files_are_sent_with_the_etag_that_they_replace(tree) -> None:
    publish(tree, publication(text_item(CONFIG, "old", fixed=False)))
    comparison = compare_one(tree, publication(text_item(CONFIG, "new", fixed=False)))
    assert [(c.state, c.etag) for c in comparison.to_send] == [("changed", tree.stat(CONFIG).etag)]
    assert not comparison.complete


def test_version_published_with_another_digest_is_refused(tree) -> None:
    publish(tree, publication(text_item(PATH, "weights")))
    other = publication(text_item(PATH, "another"), digest="d2")
    comparison = compare_one(tree, other)
    assert (comparison.publication, comparison.changes, comparison.complete) == (other, (), False)
    (reason,) = comparison.refused
    assert reason == "m v1 is published with digest d1 (content d1), not d2 (d2). Raise its version."


def test_published_text_document_keeps_its_wording(tree) -> None:
    card = "models/m/v1/model_card.md"
    old = publication(text_item(PATH, "weights"), text_item(card, "old words", source="document:model_card"))
    publish(tree, old)
    new = publication(text_item(PATH, "weights"), text_item(card, "new words", source="document:model_card"))
    comparison = compare_one(tree, new)
    assert comparison.refused == ()
    assert comparison.complete
    assert states_of(comparison) == {PATH: "same"}
    assert comparison.publication.items == new.items[:1]
    assert comparison.publication.receipt.files == new.receipt.files[:1]
    assert states_of(compare_one(tree, old)) == {PATH: "same", card: "same"}


@pytest.mark.parametrize(
    ("old_source", "new_source"),
    [
        ("train:m/card.md", "document:model_card"),
        ("train:m/card.md", "train:m/card.md"),
        ("document:metrics", "document:metrics"),
        ("document:model_card", "train:m/card.md"),
    ],
)
def test_fixed_file_that_is_no_text_document_is_refused(tree, old_source, new_source) -> None:
    publish(tree, publication(text_item(PATH, "old words", source=old_source)))
    (reason,) = compare_one(tree, publication(text_item(PATH, "new words", source=new_source))).refused
    assert reason.startswith(f"{PATH}: m v1 is published with another content")


def test_new_words_of_a_document_that_may_change_are_sent(tree) -> None:
    publish(tree, publication(text_item(CONFIG, "old words", source="document:model_card", fixed=False)))
    new = publication(text_item(CONFIG, "new words", source="document:model_card", fixed=False))
    assert states_of(compare_one(tree, new)) == {CONFIG: "changed"}


def test_file_of_a_later_version_is_kept(tree) -> None:
    first = publication(text_item(PATH, "weights"), text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    second = publication(text_item(CONFIG, "2", fixed=False), version="v2", day=11)
    publish(tree, first, second)
    comparison = compare_one(tree, first)
    assert states_of(comparison) == {PATH: "same", CONFIG: "newer there"}
    assert comparison.to_send == ()
    assert states_of(compare_one(tree, second)) == {CONFIG: "same"}


def test_later_version_that_vanishes_does_not_count(tree, monkeypatch) -> None:
    first = publication(text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    publish(tree, first, publication(text_item(CONFIG, "2", fixed=False), version="v2", day=11))
    real = receipts.read
    withdrawn = "models/m/v2"
    monkeypatch.setattr(receipts, "read", lambda objects, unit: None if unit == withdrawn else real(objects, unit))
    assert states_of(compare_one(tree, first)) == {CONFIG: "altered"}


def test_file_of_an_earlier_version_is_replaced(tree) -> None:
    first = publication(text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    publish(tree, first)
    second = publication(text_item(CONFIG, "2", fixed=False), version="v2", day=11)
    assert states_of(compare_one(tree, second)) == {CONFIG: "changed"}
    publish(tree, second)
    tree.write(CONFIG, b"3", match=None)
    os.utime(tree.path(CONFIG), (RECEIPT_TIME * 2,) * 2)
    assert states_of(compare_one(tree, second)) == {CONFIG: "altered"}
    assert states_of(compare_one(tree, first)) == {CONFIG: "newer there"}


def test_fixed_file_of_a_later_version_does_not_count(tree) -> None:
    first = publication(text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    publish(tree, first, publication(text_item(CONFIG, "2"), version="v2", day=11))
    assert states_of(compare_one(tree, first)) == {CONFIG: "altered"}


def test_file_of_another_model_is_no_later_version(tree) -> None:
    first = publication(text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    later = publication(text_item(CONFIG, "2", fixed=False), version="v2", day=11).receipt
    publish(tree, first)
    for unit, model in (("models/m2/v2", "m2"), ("models/other/v2", "other")):
        receipts.put(tree, replace(later, unit=unit, model=model))
    tree.write(CONFIG, b"2", match=None)
    os.utime(tree.path(CONFIG), (RECEIPT_TIME * 2,) * 2)
    assert states_of(compare_one(tree, first)) == {CONFIG: "altered"}


def test_later_versions_are_read_only_for_a_file_that_may_change(tree, monkeypatch) -> None:
    first = publication(text_item(PATH, "weights"), text_item(CONFIG, "1", fixed=False), version="v1", day=10)
    publish(tree, first, publication(text_item(CONFIG, "1", fixed=False), version="v2", day=11))
    read = []
    real = receipts.read
    monkeypatch.setattr(receipts, "read", lambda objects, unit: read.append(unit) or real(objects, unit))
    compare_one(tree, first)
    tree.path(PATH).unlink()
    compare_one(tree, first)
    tree.write(PATH, b"WEIGHTS", match=None)
    os.utime(tree.path(PATH), (RECEIPT_TIME * 2,) * 2)
    assert states_of(compare_one(tree, first))[PATH] == "altered"
    assert read == ["models/m/v1"] * 3
    tree.write(CONFIG, b"2", match=None)
    os.utime(tree.path(CONFIG), (RECEIPT_TIME * 2,) * 2)
    compare_one(tree, first)
    assert read == ["models/m/v1"] * 4 + ["models/m/v1", "models/m/v2"]


def test_file_of_a_publication_without_a_receipt_is_compared_too(tree) -> None:
    version = publication(text_item(PATH, "weights"))
    tree.write(PATH, b"weights", match=None)
    comparison = compare_one(tree, version)
    assert states_of(comparison) == {PATH: "same"}
    assert not comparison.complete


@pytest.mark.parametrize(
    ("paths", "prefixes"),
    [
        ([], []),
        (["README.md"], ["README.md"]),
        (["models/a/x"], ["models/a/"]),
        (["models/a/x", "models/a/y"], ["models/a/"]),
        (["models/a/x", "models/b/x"], ["models/"]),
        (["models/ab/x", "models/ac/x"], ["models/"]),
        (["a/b/c/x", "a/b/y", "a/b/c/d/z"], ["a/b/"]),
        (["models/a/x", "data/y", "models/a/b/z"], ["models/a/", "data/"]),
    ],
)
def test_listed_prefixes_are_the_deepest_common_folders(paths: list[str], prefixes: list[str]) -> None:
    assert diff._prefixes(paths) == prefixes


def test_publications_share_their_listings(tree, monkeypatch) -> None:
    versions = [
        publication(text_item(f"models/m/v{n}/model.txt", str(n)), version=f"v{n}", digest=str(n)) for n in range(4)
    ]
    publish(tree, *versions)
    listed = []
    real = Folder.list
    monkeypatch.setattr(Folder, "list", lambda self, prefix="": listed.append(prefix) or real(self, prefix))
    comparisons = diff.compare(tree, versions)
    assert [comparison.publication for comparison in comparisons] == versions
    assert all(comparison.complete for comparison in comparisons)
    assert listed == ["models/m/", "metadata/receipts/"]
