"""The schemas themselves: valid, described, closed; and what else lies in the tree is true to them."""

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
@pytest.mark.parametrize("name", PROJECT)
def test_documents_of_the_whole_lineage_are_true_to_theirs(name: str, about: Any) -> None:
    assert faults_of(project_documents(about, RECEIPTS)[name], name) == []


OPEN = {"params", "environment", "inputs", "protocol", "models", "reasons", "stages"}
"""Keys below which names are whatever a record has, or of what need not be there."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field of a document."""
    for key, value in document.items() if isinstance(document, dict) else ():
        yield (*path, key)
        if key not in OPEN and not (key == "runs" and isinstance(value, dict)):
            yield from places(value, (*path, key))
    for place, value in enumerate(document) if isinstance(document, list) else ():
        yield from places(value, (*path, place))
    for name, value in document.get("models", {}).items() if isinstance(document, dict) else ():
        versions = {(name,): value} if "versions" in value else {(name, version): v for version, v in value.items()}
        for below, one in versions.items():
            yield from places(one, (*path, "models", *below))


def without(document: Any, path: tuple[Any, ...]) -> Any:
    made = copy.deepcopy(document)
    del functools.reduce(lambda inside, key: inside[key], path[:-1], made)[path[-1]]
    return made


@pytest.mark.parametrize("name", PROJECT)
def test_a_document_that_lacks_any_field_of_its_form_is_refused_where_it_is(name: str) -> None:
    made = project_documents(CLOUD, RECEIPTS)[name]
    figures = name != "project_manifest"  # there, metrics are fields of the form
    looked_at = [p for p in places(made) if p[-1] != "stages" and not (figures and "metrics" in p[:-1])]
    assert len(looked_at) > 80
    for path in looked_at:
        faults = faults_of(without(made, path), name)
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
def test_what_cannot_be_is_refused_and_the_path_told(name: str, path: tuple[Any, ...], value: Any, fault: str) -> None:
    made = copy.deepcopy(project_documents(CLOUD, RECEIPTS)[name])
    holder = functools.reduce(lambda inside, key: inside[key], path[:-1], made)
    holder[path[-1]] = value
    told = [one for one in faults_of(made, name) if fault in one]
    assert told
    assert told[0].startswith(f"$.{path[0]}") or told[0].startswith("$: ")
