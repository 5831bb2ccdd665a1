"""Writing the project's documents: in order, only what changed, and as new as the receipts."""

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


def tree(*given: Receipt, without: tuple[str, ...] = ()) -> Tree:
    objects: Any = Memory()
    for one in given:
        receipts.put(objects, one)
    leaves = tuple(
        LayoutEntry(path, "", "publish", document=name)
        for name, path in reversed(PLACES.items())
        if name not in without
    )
    of_a_model = LayoutEntry("models/x/metrics.json", "train", "train:x", model="x", document="metrics")
    return Tree(objects, objects, LOCAL, (*leaves, of_a_model))


def told(of: Tree, name: str) -> Any:
    return json.loads(of.objects.read(PLACES[name])[0])


def test_the_manifest_is_written_last() -> None:
    assert write(tree(*RECEIPTS)) == tuple(PLACES.values())
    assert list(PLACES)[-1] == "project_manifest"


def test_publishing_the_same_again_writes_nothing() -> None:
    of = tree(*RECEIPTS)
    write(of)
    assert write(of) == ()


def test_runs_that_were_never_published_are_in_the_history_and_stay() -> None:
    of, tried = tree(*RECEIPTS), replace(TRAIN, started="2026-01-01T00:00:00+00:00", digest="tried")
    assert write(of, [Run(tried)]) == tuple(PLACES.values())
    assert write(of) == ()
    assert told(of, "training_history")["runs"][0]["digest"] == "tried"
    assert told(of, "project_manifest")["created_at"] == "2026-01-01T00:00:00Z"


def test_a_run_that_is_tracked_later_changes_history_and_manifest_alone() -> None:
    of = tree(*RECEIPTS)
    write(of)
    tracked = Run(TRAIN, {"experiment": "teachers", "run_id": "abc", "uri": "https://mlflow.example.com"})
    assert write(of, [tracked]) == (PLACES["training_history"], PLACES["project_manifest"])
    assert told(of, "project_manifest")["experiments"]["experiments"][0]["best_run_id"] == "abc"


def test_a_layout_without_history_has_a_manifest_all_the_same() -> None:
    of = tree(*RECEIPTS, without=("training_history",))
    assert write(of) == tuple(path for name, path in PLACES.items() if name != "training_history")
    assert told(of, "project_manifest")["experiments"]["experiments"] == []


@pytest.mark.parametrize("place", range(1, 5))
def test_a_writer_that_is_overtaken_by_a_publication_tells_of_it(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    of, begun = tree(DATA_RECEIPT, VERSIONS[0]), 0
    objects: Any = of.objects

    def rival(writes: int) -> Any:
        """Before one of our writes another machine publishes a version with all that is told of it."""
        nonlocal begun
        begun += 1
        if begun < place:
            return rival
        receipts.put(objects, VERSIONS[1])
        write(of)
        return None

    objects.meddle = rival
    write(of)
    assert begun == place
    alone = tree(DATA_RECEIPT, VERSIONS[0], VERSIONS[1])
    write(alone)
    for name in PROJECT:
        assert told(of, name) == told(alone, name)


def test_a_damaged_manifest_is_written_anew_and_a_damaged_history_is_not(caplog: pytest.LogCaptureFixture) -> None:
    of = tree(*RECEIPTS)
    objects: Any = of.objects
    write(of)
    sound = told(of, "project_manifest")
    objects.put(PLACES["project_manifest"], b"{")
    with caplog.at_level(logging.WARNING):
        assert write(of) == (PLACES["project_manifest"],)
    assert told(of, "project_manifest") == sound
    assert "project_manifest.json: damaged" in caplog.text
    objects.put(PLACES["training_history"], b"{")
    with pytest.raises(PokeflowError, match=r"training_history\.json: damaged.*pokeflow verify"):
        write(of)


def test_a_version_made_again_on_the_same_digest_keeps_both_runs() -> None:
    of = tree(*RECEIPTS)
    write(of)
    again = replace(TRAIN, started="2026-02-01T00:00:00+00:00", finished="2026-02-01T01:00:00+00:00")
    receipts.put(of.objects, receipt(again, *VERSIONS[0].records[1:]))
    write(of)
    runs = [run["started"] for run in told(of, "training_history")["runs"] if run["task"] == TRAIN.task]
    assert runs == [TRAIN.started, again.started]
    assert told(of, "project_manifest")["last_updated"] == "2026-02-01T01:00:00Z"
