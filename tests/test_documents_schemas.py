"""The schemas themselves: valid, described, closed; and what else lies in the tree is true to them."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from documents_support import CLOUD, LOCAL, RECEIPTS, receipt
from pokeflow.project._receipts import Receipt
from pokeflow.project.metadata import _validation as validation
from pokeflow.project.metadata._documents import MODEL, PROJECT, check

FOLDER = Path(str(files("pokeflow.project.metadata") / "schemas"))
NAMES = sorted(file.name.removesuffix(".schema.json") for file in FOLDER.glob("*.schema.json"))


def objects(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            inside = value.items() if key in {"properties", "$defs", "patternProperties"} else ()
            for name, one in inside:
                yield from objects(one, f"{path}.{name}")
            if key in {"items", "additionalProperties"}:
                yield from objects(value, f"{path}[]")


def test_there_is_one_for_each_document_and_for_links_and_receipts() -> None:
    assert set(NAMES) == {*PROJECT, *MODEL, "link", "receipt"} - {"model_card"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid(name: str) -> None:
    schema = validation.schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_says_what_it_is(name: str) -> None:
    undescribed = [
        f"{path}.{field}"
        for path, schema in objects(validation.schema(name))
        for field, told in schema.get("properties", {}).items()
        if not told.get("description") and "$ref" not in told
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_ours_is_closed_and_asks_for_its_fields(name: str) -> None:
    base = {"$.any_type", "$.accuracies"}  # closed by whoever extends them
    for path, schema in objects(validation.schema(name)):
        if "properties" in schema and path not in base:
            assert "additionalProperties" in schema or schema.get("unevaluatedProperties") is False, path
            assert schema["required"], path


@pytest.mark.parametrize("about", [LOCAL, CLOUD], ids=["folder", "s3"])
@pytest.mark.parametrize("name", PROJECT)
def test_documents_of_the_whole_lineage_are_true_to_theirs(name: str, about: Any) -> None:
    history = PROJECT["training_history"].build(about, RECEIPTS, None)
    made = PROJECT[name].build(about, RECEIPTS, history)
    assert check(name, json.dumps(made).encode()) == []


@pytest.mark.parametrize(
    "given",
    [*RECEIPTS, Receipt("migrations/old", (), origin="s3://old", facts={"files": 3}), receipt(RECEIPTS[1].records[0])],
    ids=lambda given: given.unit,
)
def test_receipts_are_true_to_theirs(given: Receipt) -> None:
    assert validation.schema_faults(json.loads(msgspec.json.encode(given)), "receipt") == []


LINK = {
    "target": "tasks/prepare/data/4e67184655fe665b/", "relative": True, "fingerprint": "b703e4a0eda531ee", "size": 5,
    "files": 8, "select": None, "task": "prepare:data", "reasons": {"select": "all of it"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"select": {"split": "calibration"}, "reasons": {}}, None),
        ({"size": -1}, "$.size: -1 is less than the minimum of 0"),
        ({"reasons": {}}, "$.select: null without a reason beside it."),
        ({"more": 1}, "$: Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_links_are_checked(change: dict[str, Any], fault: str | None) -> None:
    assert check("link", json.dumps({**LINK, **change}).encode()) == ([fault] if fault else [])


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told_as_such(data: bytes) -> None:
    (fault,) = check("link", data)
    assert fault.startswith("not JSON")
