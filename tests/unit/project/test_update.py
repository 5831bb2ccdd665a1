"""Update documents with many writers: nothing is lost or written twice, and damage is reported."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects import Folder, IntegrityError
from pokeflow.plugins import document_kinds
from pokeflow.project import _validation as validation
from pokeflow.project._kinds import schema_of
from pokeflow_testkit.memory import Memory

# The package has a function of the module's name.
writing = import_module("pokeflow.project._update")
SCHEMA = schema_of(document_kinds()["training_history"])
LINEAGE = schema_of(document_kinds()["model_lineage"])
KEY = "metadata/training_history.json"
RUN = {
    "id": "0" * 16,
    "task": "train:teacher",
    "stage": "train",
    "model": "teacher",
    "version": "v1.0",
    "type": "teacher",
    "digest": "d",
    "content": "c",
    "backend": "toy",
    "revision": "1",
    "executor": "local",
    "status": "finished",
    "started": "2026-01-10T09:00:00+00:00",
    "finished": "2026-01-10T10:00:00+00:00",
    "seconds": 1.0,
    "cost_usd": 1.0,
    "params": {"weights": None},
    "inputs": {},
    "metrics": {"reasons": {}},
    "experiment": None,
    "run_id": None,
    "tracking_uri": None,
    "reasons": dict.fromkeys(("experiment", "run_id", "tracking_uri"), "not tracked"),
}


def history(*ids: int) -> dict[str, Any]:
    return {"project": "p", "schema_version": 1, "runs": [{**RUN, "id": f"{i:016x}"} for i in ids]}


def adding(number: int) -> Any:
    def change(old: dict[str, Any] | None) -> dict[str, Any]:
        there = [int(run["id"], 16) for run in (old or history())["runs"]]
        return history(*sorted({*there, number}))

    return change


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits instead of sleeping."""
    waited: list[float] = []
    monkeypatch.setattr(writing.time, "sleep", waited.append)
    return waited


def test_unchanged_document_is_written_once() -> None:
    objects = Memory()
    assert writing.update(objects, KEY, adding(1), SCHEMA) is True
    assert writing.update(objects, KEY, adding(1), SCHEMA) is False
    assert objects.writes == 1


def test_document_is_indented_json_with_a_final_newline() -> None:
    text = writing.encode({"b": "é", "a": [1]}, "x")
    assert text == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'.encode()


def test_conflicting_write_is_retried_and_loses_nothing(waits: list[float]) -> None:
    objects = Memory()

    def rival(writes: int) -> Any:
        """Write before each of the first three writes of this process."""
        if writes <= 3:
            there = json.loads(objects.held[KEY][0]) if KEY in objects.held else None
            objects.put(KEY, writing.encode(adding(100 + writes)(there), KEY))
        return rival

    objects.meddle = rival
    assert writing.update(objects, KEY, adding(1), SCHEMA) is True
    ids = [int(run["id"], 16) for run in json.loads(objects.held[KEY][0])["runs"]]
    assert ids == [1, 101, 102, 103]
    assert len(waits) == 3
    assert all(wait <= writing.MAX_WAIT for wait in waits)


def test_endless_conflicts_are_reported_after_some_retries(waits: list[float]) -> None:
    objects = Memory()

    def rival(writes: int) -> Any:
        objects.put(KEY, writing.encode(history(1000 + writes), KEY))
        return rival

    objects.meddle = rival
    with pytest.raises(
        PokeflowError, match=r"training_history\.json: other writers kept changing it.*Run the same command again"
    ):
        writing.update(objects, KEY, adding(1), SCHEMA)
    assert len(waits) == writing.MAX_TRIES


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{", "damaged, not JSON"),
        (b"\xff\xfe", "damaged, not JSON"),
        (b"[" * 100_000, "damaged, not JSON"),
        (b"[]", r"damaged: \$"),
        (
            b'{"project": "p", "schema_version": 1, "runs": [{}]}',
            r"damaged: \$\.runs\[0\]: 'id' is a required property",
        ),
    ],
)
def test_damaged_history_is_kept_and_reported(data: bytes, fault: str) -> None:
    objects = Memory()
    objects.put(KEY, data)
    with pytest.raises(PokeflowError, match=f"{KEY}: {fault}.*pokeflow verify") as error:
        writing.update(objects, KEY, adding(1), SCHEMA)
    assert error.value.exit_code == 1
    assert objects.held[KEY][0] == data


def test_damaged_derived_document_is_rebuilt_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects, key = Memory(), "metadata/model_lineage.json"
    objects.put(key, b"{")
    new = {"project": "p", "schema_version": 1, "nodes": [], "edges": []}
    with caplog.at_level(logging.WARNING):
        assert writing.update(objects, key, lambda old: new, LINEAGE, derived=True) is True
    assert json.loads(objects.held[key][0]) == new
    assert "rebuilt from the receipts" in caplog.text


@pytest.mark.parametrize("derived", [False, True])
def test_a_newer_pokeflow_s_document_is_never_written_over(derived: bool) -> None:
    objects = Memory()
    objects.put(KEY, b'{"schema_version": 2}')
    with pytest.raises(PokeflowError, match=r"newer pokeflow \(schema_version 2, this one reads 1\). Upgrade pokeflow"):
        writing.update(objects, KEY, adding(1), SCHEMA, derived=derived)


def test_integrity_error_of_the_storage_is_passed_on() -> None:
    class Broken(Memory):
        def read(self, key: str) -> tuple[bytes, str]:
            raise IntegrityError(f"{key}: its checksum is another.")

    with pytest.raises(IntegrityError):
        writing.update(Broken(), KEY, adding(1), SCHEMA, derived=True)


def test_document_that_violates_its_schema_is_not_written() -> None:
    objects, wrong = Memory(), history(1)
    wrong["runs"][0]["seconds"] = "long"
    with pytest.raises(PokeflowError, match=r"history\.json: \$\.runs\[0\]\.seconds: 'long' is not of type 'number'"):
        writing.update(objects, KEY, lambda old: wrong, SCHEMA)
    assert not objects.held


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_json_lacks_is_not_written(value: float) -> None:
    objects, wrong = Memory(), history(1)
    wrong["runs"][0]["params"] = {"lr": value}
    with pytest.raises(PokeflowError, match="cannot be written as JSON"):
        writing.update(objects, KEY, lambda old: wrong, SCHEMA)


def test_writers_on_many_threads_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # sleep between retries
    objects = Folder(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(writing.update, objects, KEY, adding(number), SCHEMA) for number in range(24)]
    assert all(one.result() for one in written)
    ids = [int(run["id"], 16) for run in json.loads((tmp_path / KEY).read_bytes())["runs"]]
    assert ids == list(range(24))


def test_entries_of_a_sound_document_are_not_checked_again() -> None:
    old = history(1)
    old["runs"][0]["seconds"] = "long"
    validation.require({**old, "runs": [*old["runs"], *history(2)["runs"]]}, SCHEMA, KEY, old)
    worse = {**old, "runs": [*old["runs"], {**RUN, "stage": None}]}
    with pytest.raises(PokeflowError, match=r"\$\.runs\[1\]\.stage: None is not of type"):
        validation.require(worse, SCHEMA, KEY, old)
