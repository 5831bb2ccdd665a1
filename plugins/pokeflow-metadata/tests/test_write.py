"""Test writing the project's documents: in order, only changed ones, and as new as the receipts."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.project import Receipt, Run, receipts
from pokeflow.project import write_documents as write
from pokeflow.project.tree import Tree
from pokeflow.types import LayoutEntry
from pokeflow_testkit.memory import Memory

from .documents_support import DATA_RECEIPT, LOCAL, PROJECT, RECEIPTS, TRAIN, VERSIONS, receipt

PLACES = {name: f"metadata/{name}.json" for name in PROJECT}


def tree(*published: Receipt, without: tuple[str, ...] = ()) -> Tree:
    objects: Any = Memory()
    for one in published:
        receipts.put(objects, one)
    leaves = tuple(
        LayoutEntry(path, "", "publish", document=name)
        for name, path in reversed(PLACES.items())
        if name not in without
    )
    of_a_model = LayoutEntry("models/x/metrics.json", "train", "train:x", model="x", document="metrics")
    return Tree(objects, objects, LOCAL, (*leaves, of_a_model))


def read_document(of: Tree, name: str) -> Any:
    return json.loads(of.objects.read(PLACES[name])[0])


def test_manifest_is_written_last() -> None:
    assert write(tree(*RECEIPTS)) == tuple(PLACES.values())
    assert list(PLACES)[-1] == "project_manifest"


def test_publishing_again_writes_nothing() -> None:
    of = tree(*RECEIPTS)
    write(of)
    assert write(of) == ()


def test_unpublished_runs_are_kept_in_the_history() -> None:
    of, tried = tree(*RECEIPTS), replace(TRAIN, started="2026-01-01T00:00:00+00:00", digest="tried")
    assert write(of, [Run(tried)]) == tuple(PLACES.values())
    assert write(of) == ()
    assert read_document(of, "training_history")["runs"][0]["digest"] == "tried"
    assert read_document(of, "project_manifest")["created_at"] == "2026-01-01T00:00:00Z"


def test_later_tracking_changes_only_history_and_manifest() -> None:
    of = tree(*RECEIPTS)
    write(of)
    tracked = Run(TRAIN, {"experiment": "teachers", "run_id": "abc", "uri": "https://mlflow.example.com"})
    assert write(of, [tracked]) == (PLACES["training_history"], PLACES["project_manifest"])
    assert read_document(of, "project_manifest")["experiments"]["experiments"][0]["best_run_id"] == "abc"


def test_manifest_is_written_without_a_history() -> None:
    of = tree(*RECEIPTS, without=("training_history",))
    assert write(of) == tuple(path for name, path in PLACES.items() if name != "training_history")
    assert read_document(of, "project_manifest")["experiments"]["experiments"] == []


@pytest.mark.parametrize("turn", range(1, 5))
def test_concurrent_publication_is_included(monkeypatch: pytest.MonkeyPatch, turn: int) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    of, count = tree(DATA_RECEIPT, VERSIONS[0]), 0
    objects: Any = of.objects

    def rival(writes: int) -> Any:
        """Publish another version with its documents, as another machine would, before the write number ``turn``."""
        nonlocal count
        count += 1
        if count < turn:
            return rival
        receipts.put(objects, VERSIONS[1])
        write(of)
        return None

    objects.meddle = rival
    write(of)
    assert count == turn
    alone = tree(DATA_RECEIPT, VERSIONS[0], VERSIONS[1])
    write(alone)
    for name in PROJECT:
        assert read_document(of, name) == read_document(alone, name)


def test_damaged_manifest_is_rewritten_but_not_a_damaged_history(caplog: pytest.LogCaptureFixture) -> None:
    of = tree(*RECEIPTS)
    objects: Any = of.objects
    write(of)
    sound = read_document(of, "project_manifest")
    objects.put(PLACES["project_manifest"], b"{")
    with caplog.at_level(logging.WARNING):
        assert write(of) == (PLACES["project_manifest"],)
    assert read_document(of, "project_manifest") == sound
    assert "project_manifest.json: damaged" in caplog.text
    objects.put(PLACES["training_history"], b"{")
    with pytest.raises(PokeflowError, match=r"training_history\.json: damaged.*pokeflow verify"):
        write(of)


def test_repeated_version_keeps_both_runs() -> None:
    of = tree(*RECEIPTS)
    write(of)
    again = replace(TRAIN, started="2026-02-01T00:00:00+00:00", finished="2026-02-01T01:00:00+00:00")
    receipts.put(of.objects, receipt(again, *VERSIONS[0].records[1:]))
    write(of)
    runs = [run["started"] for run in read_document(of, "training_history")["runs"] if run["task"] == TRAIN.task]
    assert runs == [TRAIN.started, again.started]
    assert read_document(of, "project_manifest")["last_updated"] == "2026-02-01T01:00:00Z"
