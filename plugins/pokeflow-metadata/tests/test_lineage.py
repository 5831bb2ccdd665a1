"""Test the lineage document: nodes for everything published or named as a parent, and edges with the content read."""

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
    result = lineage.document(LOCAL, receipts)
    assert faults_of(result, "model_lineage") == []
    return result


def nodes(document: dict[str, Any]) -> dict[str, Any]:
    return {node["id"]: node for node in document["nodes"]}


def migrated(model: str, version: str, type: str, *parents: str) -> Receipt:
    return Receipt(f"models/{model}/{version}", (), model, version, type, parents, origin="s3://old/models")


def test_primary_edges_match_the_specification() -> None:
    edges = [(e["parent"], e["relation"], e["child"]) for e in document(*RECEIPTS)["edges"] if e["primary"]]
    assert set(edges) == {
        (f"{TEACHER}:v1.0", "distillation", f"{STAGE1}:v1.0"),
        (f"{STAGE1}:v1.0", "fine-tuning", f"{STAGE2}:v2.0"),
        (f"{STAGE2}:v2.0", "compilation + quantization", f"{TINY}:v2.1"),
    }


def test_second_teacher_and_data_are_secondary_parents() -> None:
    edges = {(e["parent"], e["child"]): e["relation"] for e in document(*RECEIPTS)["edges"] if not e["primary"]}
    assert edges == {
        (f"{TEACHER}:v1.0", f"{STAGE2}:v2.0"): "distillation",
        (DATA, f"{TEACHER}:v1.0"): "trained_on",
        (DATA, f"{STAGE1}:v1.0"): "trained_on",
        (DATA, f"{STAGE2}:v2.0"): "trained_on",
        (DATA, f"{TINY}:v2.1"): "calibrated_on",
    }


def test_edge_has_the_content_read_and_whether_it_is_published() -> None:
    other = replace(VERSIONS[0], content="another")
    for teacher, same in ((VERSIONS[0], True), (other, False)):
        edges = {e["parent"]: e for e in document(teacher, VERSIONS[1])["edges"] if e["child"] == f"{STAGE1}:v1.0"}
        assert edges[f"{TEACHER}:v1.0"]["content"] == TRAIN.content
        assert edges[f"{TEACHER}:v1.0"]["content_is_published"] is same


def test_nodes_have_approach_generation_and_path() -> None:
    by_id = nodes(document(*RECEIPTS))
    assert [by_id[f"{m}:{v}"]["approach"] for m, v in ((TEACHER, "v1.0"), (STAGE1, "v1.0"), (STAGE2, "v2.0"))] == [
        "train",
        "knowledge_distillation",
        "task_specific_finetuning",
    ]
    assert [by_id[f"{m}:{v}"]["generation"] for m, v in ((STAGE1, "v1.0"), (STAGE2, "v2.0"))] == [1, 2]
    stage1 = by_id[f"{STAGE1}:v1.0"]
    assert stage1["path"] == "models/efficientnet-student/stage1/v1.0/"
    assert (stage1["digest"], stage1["content"], stage1["params"]) == (
        DISTILL1.digest,
        DISTILL1.content,
        DISTILL1.params,
    )
    assert by_id[DATA]["path"] == "data/processed/link.json"
    assert by_id[DATA]["published"] is True


def test_every_published_version_is_a_node() -> None:
    newer = replace(DISTILL1, version="v1.1", digest="newer", content="newer")
    assert {f"{STAGE1}:v1.0", f"{STAGE1}:v1.1"} <= set(nodes(document(*RECEIPTS, receipt(newer))))


def test_unpublished_parent_is_a_node_with_a_reason() -> None:
    by_id = nodes(document(VERSIONS[1]))
    teacher = by_id[f"{TEACHER}:v1.0"]
    assert teacher["published"] is False
    assert teacher["content"] == TRAIN.content
    assert teacher["reasons"]["digest"] == f"not published; {STAGE1}:v1.0 names it as a parent"
    assert by_id[DATA]["published"] is False


def test_migrated_version_is_a_node_with_reasons_and_edges() -> None:
    result = document(
        migrated(TEACHER, "v0.9", "teacher"),
        migrated(STAGE1, "v0.9", "student", f"{TEACHER}:v0.9", "unheard-of:v0"),
        Receipt("migrations/2026", (), origin="s3://old"),
    )
    by_id = nodes(result)
    teacher = by_id[f"{TEACHER}:v0.9"]
    assert teacher["published"] is True
    assert teacher["origin"] == "s3://old/models"
    assert teacher["reasons"]["digest"] == "migrated from s3://old/models; not recorded"
    assert by_id["migrations/2026"]["kind"] == "migration"
    assert by_id["unheard-of:v0"]["published"] is False
    assert [edge["relation"] for edge in result["edges"]] == ["distillation", None]
    assert all(nulls(result).values())


def test_lineage_of_nothing_published_is_empty() -> None:
    assert document() == {"project": LOCAL.name, "schema_version": 1, "nodes": [], "edges": []}


def test_lineage_does_not_depend_on_the_order_of_receipts() -> None:
    assert document(*reversed(RECEIPTS)) == document(*RECEIPTS)
