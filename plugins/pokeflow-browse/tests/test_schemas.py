"""The schemas of receipts and links: valid, described, closed; and what lies in the tree is true to them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from pokeflow.project import Receipt, check_bytes, receipts
from pokeflow.project import _validation as validation
from pokeflow_browse.schemas import link_schema, receipt_schema
from pokeflow_testkit.handmade import published

SCHEMAS = {"link": link_schema(), "receipt": receipt_schema()}


def objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object of a schema: its own, and those that it refers to."""
    return [schema, *schema.get("$defs", {}).values()]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_it_is_valid_described_closed_and_asks_for_its_fields(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in objects(schema):
        assert [name for name, told in one["properties"].items() if not told.get("description")] == []
        assert one["additionalProperties"] is False
        assert one["required"]


def test_receipts_of_a_tree_are_true_to_theirs(tmp_path: Path) -> None:
    tree = published(tmp_path)
    given = [*receipts.read_all(tree.objects), Receipt("migrations/old", (), origin="s3://old", facts={"files": 3})]
    assert len(given) > 4
    for receipt in given:
        assert validation.schema_faults(json.loads(msgspec.json.encode(receipt)), receipt_schema()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"unit": ""}, "$.unit: '' should be non-empty"),
        ({"digest": None}, "$.digest: None is not of type 'string'"),
        ({"records": [{}]}, "$.records[0]: 'task' is a required property"),
        ({"more": 1}, "$: Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_receipts_are_checked(change: dict[str, Any], fault: str) -> None:
    sound = json.loads(msgspec.json.encode(Receipt("report", ())))
    assert fault in validation.schema_faults({**sound, **change}, receipt_schema())


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
        ({"reasons": {}}, "$.select: null without a reason."),
        ({"more": 1}, "$: Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_links_are_checked(change: dict[str, Any], fault: str | None) -> None:
    assert check_bytes(json.dumps({**LINK, **change}).encode(), link_schema()) == ([fault] if fault else [])


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told_as_such(data: bytes) -> None:
    (fault,) = check_bytes(data, link_schema())
    assert fault.startswith("not JSON")
