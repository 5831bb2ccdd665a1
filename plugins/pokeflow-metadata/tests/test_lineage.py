"""The lineage: nodes for all that is published or named, edges with what was read, as the specification draws it."""

from dataclasses import replace
from typing import Any

from pokeflow.project import Receipt
from pokeflow_metadata import lineage

from .documents_support import (
    DISTILL1,
    LOCAL,
    PREPARE,
    RECEIPTS,
    STAGE1,
    STAGE2,
    TEACHER,
    TINY,
    TRAIN,
    VERSIONS,
    faults_of,
    nulls,
    receipt,
)

DATA = f"data:{PREPARE.content}"


def document(*receipts: Receipt) -> dict[str, Any]:
    made = lineage.document(LOCAL, receipts)
    assert faults_of(made, "model_lineage") == []
    return made


def nodes(made: dict[str, Any]) -> dict[str, Any]:
    return {node["id"]: node for node in made["nodes"]}


def migrated(model: str, version: str, type: str, *parents: str) -> Receipt:
    return Receipt(f"models/{model}/{version}", (), model, version, type, parents, origin="s3://old/models")


def test_the_edges_are_the_specification_s() -> None:
    edges = [(e["parent"], e["relation"], e["child"]) for e in document(*RECEIPTS)["edges"] if e["primary"]]
    assert set(edges) == {
        (f"{TEACHER}:v1.0", "distillation", f"{STAGE1}:v1.0"),
        (f"{STAGE1}:v1.0", "fine-tuning", f"{STAGE2}:v2.0"),
        (f"{STAGE2}:v2.0", "compilation + quantization", f"{TINY}:v2.1"),
    }


def test_a_second_teacher_and_the_data_are_parents_too() -> None:
    edges = {(e["parent"], e["child"]): e["relation"] for e in document(*RECEIPTS)["edges"] if not e["primary"]}
    assert edges == {
        (f"{TEACHER}:v1.0", f"{STAGE2}:v2.0"): "distillation",
        (DATA, f"{TEACHER}:v1.0"): "trained_on",
        (DATA, f"{STAGE1}:v1.0"): "trained_on",
        (DATA, f"{STAGE2}:v2.0"): "trained_on",
        (DATA, f"{TINY}:v2.1"): "calibrated_on",
    }


def test_an_edge_tells_which_content_was_read_and_whether_it_is_what_is_published() -> None:
    other = replace(VERSIONS[0], content="another")
    for teacher, same in ((VERSIONS[0], True), (other, False)):
        edges = {e["parent"]: e for e in document(teacher, VERSIONS[1])["edges"] if e["child"] == f"{STAGE1}:v1.0"}
        assert edges[f"{TEACHER}:v1.0"]["content"] == TRAIN.content
        assert edges[f"{TEACHER}:v1.0"]["content_is_published"] is same


def test_nodes_tell_how_a_version_was_made_and_where_it_lies() -> None:
    found = nodes(document(*RECEIPTS))
    assert [found[f"{m}:{v}"]["approach"] for m, v in ((TEACHER, "v1.0"), (STAGE1, "v1.0"), (STAGE2, "v2.0"))] == [
        "train",
        "knowledge_distillation",
        "task_specific_finetuning",
    ]
    assert [found[f"{m}:{v}"]["generation"] for m, v in ((STAGE1, "v1.0"), (STAGE2, "v2.0"))] == [1, 2]
    stage1 = found[f"{STAGE1}:v1.0"]
    assert stage1["path"] == "models/efficientnet-student/stage1/v1.0/"
    assert (stage1["digest"], stage1["content"], stage1["params"]) == (
        DISTILL1.digest,
        DISTILL1.content,
        DISTILL1.params,
    )
    assert found[DATA]["path"] == "data/processed/link.json"
    assert found[DATA]["published"] is True


def test_every_published_version_is_a_node() -> None:
    newer = replace(DISTILL1, version="v1.1", digest="newer", content="newer")
    assert {f"{STAGE1}:v1.0", f"{STAGE1}:v1.1"} <= set(nodes(document(*RECEIPTS, receipt(newer))))


def test_a_parent_that_is_not_published_is_a_node_that_says_so() -> None:
    found = nodes(document(VERSIONS[1]))
    teacher = found[f"{TEACHER}:v1.0"]
    assert teacher["published"] is False
    assert teacher["content"] == TRAIN.content
    assert teacher["reasons"]["digest"] == f"not published; {STAGE1}:v1.0 names it as a parent"
    assert found[DATA]["published"] is False


def test_what_was_migrated_is_a_node_with_reasons_and_edges_by_its_types() -> None:
    made = document(
        migrated(TEACHER, "v0.9", "teacher"),
        migrated(STAGE1, "v0.9", "student", f"{TEACHER}:v0.9", "unheard-of:v0"),
        Receipt("migrations/2026", (), origin="s3://old"),
    )
    found = nodes(made)
    teacher = found[f"{TEACHER}:v0.9"]
    assert teacher["published"] is True
    assert teacher["origin"] == "s3://old/models"
    assert teacher["reasons"]["digest"] == "migrated from s3://old/models; no record tells it"
    assert found["migrations/2026"]["kind"] == "migration"
    assert found["unheard-of:v0"]["published"] is False
    assert [edge["relation"] for edge in made["edges"]] == ["distillation", None]
    assert all(nulls(made).values())


def test_nothing_published_is_a_document_too() -> None:
    assert document() == {"project": LOCAL.name, "schema_version": 1, "nodes": [], "edges": []}


def test_the_order_of_receipts_changes_no_byte() -> None:
    assert document(*reversed(RECEIPTS)) == document(*RECEIPTS)
