"""Test the schemas of receipts and links, and that a published tree conforms to them."""

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
    """Return all objects of a schema: itself and its definitions."""
    return [schema, *schema.get("$defs", {}).values()]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_schema_is_valid_described_closed_with_required_fields(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in objects(schema):
        assert [name for name, field in one["properties"].items() if not field.get("description")] == []
        assert one["additionalProperties"] is False
        assert one["required"]


def test_receipts_of_a_tree_match_their_schema(tmp_path: Path) -> None:
    tree = published(tmp_path)
    known = [*receipts.read_all(tree.objects), Receipt("migrations/old", (), origin="s3://old", facts={"files": 3})]
    assert len(known) > 4
    for receipt in known:
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
def test_invalid_receipts_are_rejected(change: dict[str, Any], fault: str) -> None:
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
def test_invalid_links_are_rejected(change: dict[str, Any], fault: str | None) -> None:
    assert check_bytes(json.dumps({**LINK, **change}).encode(), link_schema()) == ([fault] if fault else [])


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_invalid_json_is_reported(data: bytes) -> None:
    (fault,) = check_bytes(data, link_schema())
    assert fault.startswith("not JSON")
