"""Test that the schemas are valid, described and closed, and that documents conform to them."""

import copy
import functools
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from pokeflow.plugins import document_kinds
from pokeflow.project._kinds import schema_of

from .documents_support import CLOUD, LOCAL, PROJECT, RECEIPTS, STAGE1, TEACHER, TINY, faults_of, project_documents

SCHEMAS: dict[str, Any] = {
    name: schema_of(kind) for name, kind in document_kinds().items() if "pokeflow_metadata" in str(kind.schema)
}
NAMES = sorted(SCHEMAS)


def objects(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all schemas within a schema, with their paths."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            inside = value.items() if key in {"properties", "$defs", "patternProperties"} else ()
            for name, one in inside:
                yield from objects(one, f"{path}.{name}")
            if key in {"items", "additionalProperties"}:
                yield from objects(value, f"{path}[]")


def test_every_json_document_has_a_schema() -> None:
    documents = {"project_manifest", "model_lineage", "training_history", "performance_benchmarks"}
    assert set(NAMES) == documents | {"metrics", "training_config"}


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_a_description(name: str) -> None:
    undescribed = [
        f"{path}.{field}"
        for path, schema in objects(SCHEMAS[name])
        for field, spec in schema.get("properties", {}).items()
        if not spec.get("description") and "$ref" not in spec
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", NAMES)
def test_own_objects_are_closed_with_required_fields(name: str) -> None:
    base = {"$.any_type", "$.accuracies"}  # closed by the schemas that extend them
    for path, schema in objects(SCHEMAS[name]):
        if "properties" in schema and path not in base:
            assert "additionalProperties" in schema or schema.get("unevaluatedProperties") is False, path
            assert schema["required"], path


@pytest.mark.parametrize("about", [LOCAL, CLOUD], ids=["folder", "s3"])
@pytest.mark.parametrize("name", PROJECT)
def test_documents_of_the_whole_lineage_match_their_schemas(name: str, about: Any) -> None:
    assert faults_of(project_documents(about, RECEIPTS)[name], name) == []


OPEN = {"params", "environment", "inputs", "protocol", "models", "reasons", "stages"}
"""Keys below which any names may occur, or whose content is optional."""


def field_paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all fields of a document."""
    for key, value in document.items() if isinstance(document, dict) else ():
        yield (*path, key)
        if key not in OPEN and not (key == "runs" and isinstance(value, dict)):
            yield from field_paths(value, (*path, key))
    for index, value in enumerate(document) if isinstance(document, list) else ():
        yield from field_paths(value, (*path, index))
    for name, value in document.get("models", {}).items() if isinstance(document, dict) else ():
        versions = {(name,): value} if "versions" in value else {(name, version): v for version, v in value.items()}
        for below, one in versions.items():
            yield from field_paths(one, (*path, "models", *below))


def without(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    del functools.reduce(lambda inside, key: inside[key], path[:-1], changed)[path[-1]]
    return changed


@pytest.mark.parametrize("name", PROJECT)
def test_document_without_a_required_field_is_refused(name: str) -> None:
    document = project_documents(CLOUD, RECEIPTS)[name]
    figures = name != "project_manifest"  # there, metrics are fields of the schema
    looked_at = [p for p in field_paths(document) if p[-1] != "stages" and not (figures and "metrics" in p[:-1])]
    assert len(looked_at) > 80
    for path in looked_at:
        faults = faults_of(without(document, path), name)
        assert any(f"'{path[-1]}' is a required property" in fault for fault in faults), path


@pytest.mark.parametrize(
    ("name", "path", "value", "fault"),
    [
        ("project_manifest", ("models", TINY, "performance", "throughput_fps"), -1, "-1 is less than the minimum of 0"),
        (
            "project_manifest",
            ("models", TEACHER, "metrics", "top1_accuracy"),
            93,
            "93 is greater than the maximum of 1",
        ),
        ("project_manifest", ("models", STAGE1, "training_job_"), 1, "Additional properties are not allowed"),
        ("project_manifest", ("models", STAGE1, "training_approach"), "by hand", "'by hand' is not one of"),
        ("project_manifest", ("created_at",), "soon", "'soon' does not match"),
        ("model_lineage", ("edges", 0, "relation"), "cousin", "'cousin' is not one of"),
        ("model_lineage", ("nodes", 0, "generation"), 0, "0 is less than the minimum of 1"),
        ("training_history", ("runs", 0, "started"), "soon", "'soon' does not match"),
        ("training_history", ("runs", 0, "status"), "failed", "'finished' was expected"),
        ("training_history", ("schema_version",), 0, "1 was expected"),
        ("performance_benchmarks", ("models", TEACHER, "v1.0", "benchmarks", 0, "runs"), "many", "is not of type"),
    ],
)
def test_invalid_value_is_refused_with_its_path(name: str, path: tuple[Any, ...], value: Any, fault: str) -> None:
    document = copy.deepcopy(project_documents(CLOUD, RECEIPTS)[name])
    holder = functools.reduce(lambda inside, key: inside[key], path[:-1], document)
    holder[path[-1]] = value
    faults = [one for one in faults_of(document, name) if fault in one]
    assert faults
    assert faults[0].startswith(f"$.{path[0]}") or faults[0].startswith("$: ")
