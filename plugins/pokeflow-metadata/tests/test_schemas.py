"""The schemas themselves: valid, described, closed; and what else lies in the tree is true to them."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from pokeflow.plugins import document_kinds
from pokeflow.project._kinds import kinds_of, schema_of

from .documents_support import CLOUD, LOCAL, RECEIPTS, faults_of, project_documents

SCHEMAS: dict[str, Any] = {name: schema_of(kind) for name, kind in document_kinds().items() if kind.schema}
NAMES = sorted(SCHEMAS)


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


def test_there_is_one_for_each_document_of_data() -> None:
    documents = {"project_manifest", "model_lineage", "training_history", "performance_benchmarks"}
    assert set(NAMES) == documents | {"metrics", "training_config"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_says_what_it_is(name: str) -> None:
    undescribed = [
        f"{path}.{field}"
        for path, schema in objects(SCHEMAS[name])
        for field, told in schema.get("properties", {}).items()
        if not told.get("description") and "$ref" not in told
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_ours_is_closed_and_asks_for_its_fields(name: str) -> None:
    base = {"$.any_type", "$.accuracies"}  # closed by whoever extends them
    for path, schema in objects(SCHEMAS[name]):
        if "properties" in schema and path not in base:
            assert "additionalProperties" in schema or schema.get("unevaluatedProperties") is False, path
            assert schema["required"], path


@pytest.mark.parametrize("about", [LOCAL, CLOUD], ids=["folder", "s3"])
@pytest.mark.parametrize("name", kinds_of("project"))
def test_documents_of_the_whole_lineage_are_true_to_theirs(name: str, about: Any) -> None:
    assert faults_of(project_documents(about, RECEIPTS)[name], name) == []
