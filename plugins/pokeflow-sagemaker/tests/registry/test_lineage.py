"""Lineage in SageMaker: one artifact per content and an edge from each input, in any order of registration."""

import threading

import pytest

from pokeflow_sagemaker.aws import AccessDeniedError, client, waiting
from pokeflow_sagemaker.registry import lineage
from pokeflow_sagemaker.stages import register

from ..registry_flow import HAILO, LABELS, PROJECT, STAGE1, STAGE2, TEACHER, Lineage


@pytest.fixture
def flow(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_INTERVAL", 0.02)
    cloud.trouble(becoming=0.05)
    return Lineage(cloud, tmp_path)


def walk(flow, *known):
    return lineage.Walk(client("sagemaker", flow.cloud.region), flow.objects, PROJECT, known)


def artifacts(flow):
    """Return every artifact by its model."""
    sagemaker = flow.cloud.aws("sagemaker")
    rows = sagemaker.list_artifacts(MaxResults=100)["ArtifactSummaries"]
    descriptions = [sagemaker.describe_artifact(ArtifactArn=row["ArtifactArn"]) for row in rows]
    return {row["Properties"]["model"]: row for row in descriptions}


def edges(flow, names):
    """Return every edge as (from, to, type), by models."""
    sagemaker = flow.cloud.aws("sagemaker")
    name = {row["ArtifactArn"]: model for model, row in names.items()}
    rows = sagemaker.list_associations(MaxResults=100)["AssociationSummaries"]
    return {(name[row["SourceArn"]], name[row["DestinationArn"]], row["AssociationType"]) for row in rows}


EDGES = {
    (TEACHER, STAGE1, "ContributedTo"),
    (TEACHER, STAGE2, "ContributedTo"),
    (STAGE1, STAGE2, "ContributedTo"),
    (STAGE2, HAILO, "DerivedFrom"),
    *(("data", name, "ContributedTo") for name in LABELS),
}


@pytest.mark.slow
@pytest.mark.parametrize("order", [tuple(LABELS), tuple(reversed(LABELS)), (HAILO,)])
def test_registration_order_does_not_change_the_lineage(flow, order):
    for name in order:
        flow.register(name)
    by_model = artifacts(flow)
    assert set(by_model) == {*LABELS, "data"}
    assert edges(flow, by_model) == EDGES
    assert by_model["data"]["ArtifactType"] == "DataSet"
    assert {by_model[name]["ArtifactType"] for name in LABELS} == {"Model"}


@pytest.mark.slow
@pytest.mark.parametrize("start", LABELS)
def test_a_query_from_any_model_returns_the_whole_chain(flow, start):
    arns = {name: flow.register(name).facts["artifact_arn"] for name in LABELS}
    answer = flow.cloud.aws("sagemaker").query_lineage(StartArns=[arns[start]], Direction="Both", IncludeEdges=True)
    assert {vertex["Arn"] for vertex in answer["Vertices"]} | {arns[start]} >= set(arns.values())
    up = flow.cloud.aws("sagemaker").query_lineage(StartArns=[arns[HAILO]], Direction="Ascendants")
    assert {vertex["Arn"] for vertex in up["Vertices"]} >= set(arns.values()) - {arns[HAILO]}


def test_artifact_describes_itself_and_lists_its_packages(flow):
    teacher = flow.model(TEACHER)
    rest = flow.benchmark(teacher), flow.bundle(teacher), flow.data()
    first = flow.register(TEACHER, teacher, *rest)
    second = flow.register(TEACHER, teacher, *rest, version="v1.1")

    assert first.facts["artifact_arn"] == second.facts["artifact_arn"]
    artifact = artifacts(flow)[TEACHER]
    record = teacher.record
    assert artifact["Source"] == {
        "SourceUri": f"{flow.remote}/tasks/train/{TEACHER}/{record.digest}/#{record.content}",
        "SourceTypes": [{"SourceIdType": "Custom", "Value": record.content}],
    }
    assert artifact["Properties"]["package v1.0"] == first.facts["model_package_arn"]
    assert artifact["Properties"]["package v1.1"] == second.facts["model_package_arn"]
    assert artifact["Properties"]["digest"] == record.digest
    tags = flow.cloud.aws("sagemaker").list_tags(ResourceArn=artifact["ArtifactArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "pokeflow:project": PROJECT,
        "pokeflow:model": TEACHER,
        "pokeflow:version": "v1.0",
        "pokeflow:run": record.digest,
    }
    flow.cloud.forget()
    assert flow.register(TEACHER, teacher, *rest) == first
    assert flow.register(TEACHER, teacher, *rest, version="v1.1") == second
    assert flow.cloud.mutating() == {}


def test_another_content_is_another_artifact(flow):
    other = flow.model(TEACHER, b"other weights")
    first = flow.register(TEACHER)
    second = flow.register(TEACHER, other, flow.bundle(other), flow.data())
    assert first.facts["artifact_arn"] != second.facts["artifact_arn"]


def test_walking_twice_changes_nothing(flow):
    record = flow.model(HAILO).record
    arn = walk(flow).up(record)
    flow.cloud.forget()
    assert walk(flow).up(record) == arn
    assert flow.cloud.mutating() == {}


def test_concurrent_walks_create_no_duplicates(flow):
    record, arns, faults = flow.model(HAILO).record, [], []

    def one():
        try:
            arns.append(walk(flow).up(record))
        except Exception as error:  # noqa: BLE001 - asserted below
            faults.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(set(arns)) == 1
    by_model = artifacts(flow)
    assert len(flow.cloud.aws("sagemaker").list_artifacts(MaxResults=100)["ArtifactSummaries"]) == len(by_model) == 5
    assert edges(flow, by_model) == EDGES


def test_missing_ancestor_is_reported_as_a_gap(flow, caplog):
    task = flow.task(STAGE1)
    teacher = flow.model(TEACHER).record
    flow.objects.delete(f"tasks/train/{TEACHER}/{teacher.digest}/record.json")
    assert register.run(task).facts["lineage_gaps"] == [f"train:{TEACHER}"]
    assert "so its association is missing" in caplog.text
    assert set(artifacts(flow)) == {STAGE1, "data"}


def test_ancestors_are_matched_by_content(flow):
    for i in range(3):
        flow.finished("train", TEACHER, {"model.onnx": b"%d" % i}, {}, params={"seed": i})
    assert walk(flow).up(flow.model(STAGE1).record)
    assert artifacts(flow)[TEACHER]["Properties"]["content"] == flow.model(TEACHER).record.content


@pytest.mark.parametrize("operation", ["CreateArtifact", "AddAssociation", "UpdateArtifact"])
def test_denied_call_is_reported_and_next_attempt_completes(flow, operation):
    flow.cloud.trouble(denied=(operation,), becoming=0.05)
    with pytest.raises(AccessDeniedError, match=operation) as error:
        flow.register(STAGE1)
    assert "\n" not in str(error.value)
    flow.cloud.trouble(becoming=0.05)
    flow.register(STAGE1)
    assert (TEACHER, STAGE1, "ContributedTo") in edges(flow, artifacts(flow))
