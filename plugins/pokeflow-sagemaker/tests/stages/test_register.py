"""Stage register on SageMaker: one package for each model, version label and content, and its properties."""

import dataclasses
import json
import threading

import pytest

from pokeflow import PokeflowError
from pokeflow.gates import Gate
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.stages import register

from ..registry_flow import GROUP, HAILO, HALF, LABELS, SECRET, STAGE1, TEACHER, Lineage


@pytest.fixture
def flow(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_INTERVAL", 0.02)
    cloud.trouble(becoming=0.05)
    return Lineage(cloud, tmp_path)


def register_again(flow, *args, **overrides):
    """Register again; return the operations that changed something, and the result."""
    task = flow.task(*args, **overrides)
    flow.cloud.forget()
    result = register.run(task)
    return flow.cloud.mutating(), result


def test_a_model_becomes_a_package_in_the_projects_group(flow):
    task = flow.task(TEACHER)
    result = register.run(task)

    package = flow.package(result)
    assert package["ModelPackageGroupName"] == GROUP == result.facts["model_package_group"]
    assert package["ModelPackageVersion"] == result.facts["model_package_version"] == 1
    assert package["ModelPackageDescription"].startswith(
        "dinov3-teacher v1.0, teacher, Net/16, 304,000,000 parameters, embeddings of 768, "
        "produced by train with torch. ["
    )
    bundle = task.inputs[2].record
    address = f"{flow.remote}/tasks/bundle/dinov3-teacher/{bundle.digest}/model.tar.gz"
    specification = package["InferenceSpecification"]
    assert specification["Containers"][0]["ModelDataUrl"] == address == result.facts["source"]
    assert specification["SupportedContentTypes"] == ["image/jpeg", "image/png", "application/json"]
    assert specification["SupportedResponseMIMETypes"] == ["application/json"]
    assert "SourceUri" not in package
    assert package["MetadataProperties"]["CommitId"] == "c0ffee" * 6
    assert json.loads((task.output / "registration.json").read_text()) == result.facts


def test_properties_describe_the_model_and_its_benchmark(flow):
    package = flow.package(flow.register(STAGE1, gates=HALF))
    record = flow.model(STAGE1).record

    properties = package["CustomerMetadataProperties"]
    assert properties["pokeflow-key"] in package["ModelPackageDescription"]
    assert properties["pokeflow-content"] == record.content
    assert properties["pokeflow-parent"] == TEACHER
    assert properties["pokeflow-parent-1"] == f"train:dinov3-teacher={flow.model(TEACHER).record.content}"
    assert (properties["pokeflow-version"], properties["pokeflow-type"], properties["pokeflow-gates"]) == (
        "v1.0",
        "student",
        "passed",
    )
    assert properties["metric-top1_accuracy"] == "0.9125"
    assert properties["reason-power_w"] == "no meter here 5"
    assert "metric-power_w" not in properties
    assert properties["gate-top1_accuracy"] == "passed: 0.9125 is at least 0.5"


def test_metrics_are_stored_in_sagemakers_format(flow):
    package = flow.package(flow.register(TEACHER))

    statistics = package["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert statistics["ContentType"] == "application/json"
    content = json.loads(flow.objects.read(statistics["S3Uri"].removeprefix(f"{flow.remote}/"))[0])
    figures = content["multiclass_classification_metrics"]
    assert figures["accuracy"] == {"value": 0.9125, "standard_deviation": "NaN"}
    assert set(figures) == {"accuracy", "latency_p50_ms"}


def test_registering_again_changes_nothing(flow):
    first = flow.register(TEACHER, gates=HALF)
    changed, second = register_again(flow, TEACHER, gates=HALF)
    assert changed == {}
    assert second == first


@pytest.mark.slow
def test_four_models_are_versions_of_one_group(flow):
    first = [flow.register(name, gates=HALF) for name in LABELS]
    assert [result.facts["model_package_version"] for result in first] == [1, 2, 3, 4]
    flow.cloud.forget()
    assert [flow.register(name, gates=HALF) for name in LABELS] == first
    assert flow.cloud.mutating() == {}


def test_changed_label_content_or_bundle_gives_another_package(flow):
    trained = flow.model(TEACHER)
    inputs = trained, flow.benchmark(trained), flow.bundle(trained), flow.data()
    other = flow.model(TEACHER, b"other weights")
    numbers = [
        flow.register(TEACHER, *inputs),
        flow.register(TEACHER, *inputs, version="v1.1"),
        flow.register(TEACHER, other, flow.benchmark(other), flow.bundle(other), flow.data()),
        flow.register(TEACHER, other, flow.benchmark(other), flow.bundle(other, b"other code"), flow.data()),
    ]
    assert [result.facts["model_package_version"] for result in numbers] == [1, 2, 3, 4]


def test_newer_benchmark_updates_the_same_package(flow):
    trained = flow.model(TEACHER)
    rest = flow.bundle(trained), flow.data()
    first = flow.register(TEACHER, trained, flow.benchmark(trained), *rest, gates=HALF)
    newer = flow.benchmark(trained, top1_accuracy=0.25, power_w=2.5)
    changed, second = register_again(flow, TEACHER, trained, newer, *rest, gates=HALF)

    assert second.facts["model_package_arn"] == first.facts["model_package_arn"]
    assert (first.facts["approval"], second.facts["approval"]) == ("Approved", "Rejected")
    assert changed.pop("UpdateModelPackage") == 1
    assert changed == {"PutObject": 1}
    package = flow.package(second)
    properties = package["CustomerMetadataProperties"]
    assert (properties["metric-top1_accuracy"], properties["metric-power_w"]) == ("0.25", "2.5")
    assert "reason-power_w" not in properties
    assert package["ModelApprovalStatus"] == "Rejected"
    assert package["ApprovalDescription"] == "pokeflow gates: top1_accuracy failed: 0.25 is below 0.5"
    assert '"value": 0.25' in package["ModelCard"]["ModelCardContent"]
    address = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert b'"value": 0.25' in flow.objects.read(address.removeprefix(f"{flow.remote}/"))[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gates", "approval"),
    [({}, "PendingManualApproval"), (HALF, "Approved"), ({"top1_accuracy": Gate(min=0.99)}, "Rejected")],
)
def test_gates_set_the_approval_else_it_is_pending(flow, gates, approval):
    result = flow.register(TEACHER, gates=gates)
    assert result.facts["approval"] == flow.package(result)["ModelApprovalStatus"] == approval


@pytest.mark.parametrize(
    ("gates", "decision"),
    [
        ({}, {"ModelApprovalStatus": "Approved"}),
        ({"top1_accuracy": Gate(min=0.99)}, {"ModelApprovalStatus": "Approved", "ApprovalDescription": "good enough"}),
        (HALF, {"ModelApprovalStatus": "Rejected"}),
        # The same decision as the gates', but set by a person.
        ({"top1_accuracy": Gate(min=0.99)}, {"ModelApprovalStatus": "Rejected", "ApprovalDescription": "ours"}),
    ],
)
def test_decision_of_a_person_is_kept_over_later_gates(flow, gates, decision, caplog):
    trained = flow.model(TEACHER)
    rest = flow.bundle(trained), flow.data()
    first = flow.register(TEACHER, trained, flow.benchmark(trained), *rest, gates=gates)
    flow.cloud.aws("sagemaker").update_model_package(ModelPackageArn=first.facts["model_package_arn"], **decision)

    for accuracy in (0.25, 0.9999):
        newer = flow.benchmark(trained, top1_accuracy=accuracy)
        result = flow.register(TEACHER, trained, newer, *rest, gates=gates or HALF)
        assert (
            result.facts["approval"] == flow.package(result)["ModelApprovalStatus"] == decision["ModelApprovalStatus"]
        )
    assert "which a person set" in caplog.text


def test_manual_additions_are_kept(flow):
    trained = flow.model(TEACHER)
    rest = flow.bundle(trained), flow.data()
    result = flow.register(TEACHER, trained, flow.benchmark(trained), *rest)
    card = json.loads(flow.package(result)["ModelCard"]["ModelCardContent"])
    card["business_details"] = {"business_problem": "Which card is it?"}
    card["additional_information"]["ethical_considerations"] = "None known."
    flow.cloud.aws("sagemaker").update_model_package(
        ModelPackageArn=result.facts["model_package_arn"],
        CustomerMetadataProperties={"team": "cards"},
        ModelCard={"ModelCardContent": json.dumps(card)},
    )
    flow.register(TEACHER, trained, flow.benchmark(trained, top1_accuracy=0.5), *rest)

    package = flow.package(result)
    after = json.loads(package["ModelCard"]["ModelCardContent"])
    assert package["CustomerMetadataProperties"]["team"] == "cards"
    assert after["business_details"] == card["business_details"]
    assert after["additional_information"]["ethical_considerations"] == "None known."
    assert '"value": 0.5' in json.dumps(after)
    assert register_again(flow, TEACHER, trained, flow.benchmark(trained, top1_accuracy=0.5), *rest)[0] == {}


def test_reviewed_card_is_no_longer_overwritten(flow):
    trained = flow.model(TEACHER)
    rest = flow.bundle(trained), flow.data()
    result = flow.register(TEACHER, trained, flow.benchmark(trained), *rest)
    before = flow.package(result)["ModelCard"]["ModelCardContent"]
    flow.cloud.aws("sagemaker").update_model_package(
        ModelPackageArn=result.facts["model_package_arn"],
        ModelCard={"ModelCardContent": before, "ModelCardStatus": "Approved"},
    )
    flow.register(TEACHER, trained, flow.benchmark(trained, top1_accuracy=0.5), *rest)

    package = flow.package(result)
    assert package["ModelCard"]["ModelCardContent"] == before
    assert package["CustomerMetadataProperties"]["metric-top1_accuracy"] == "0.5"


def test_device_model_is_registered_without_a_container(flow):
    package = flow.package(flow.register(HAILO))
    assert package["SourceUri"] == f"{flow.remote}/tasks/compile/{HAILO}/{flow.model(HAILO).record.digest}/"
    assert "InferenceSpecification" not in package
    assert package["ModelPackageStatus"] == "Completed"


def test_a_model_without_a_benchmark_has_no_figures(flow):
    trained = flow.model(TEACHER)
    package = flow.package(flow.register(TEACHER, trained, flow.bundle(trained), flow.data(), gates=HALF))
    assert "ModelMetrics" not in package
    assert package["ModelApprovalStatus"] == "Rejected"


def test_secrets_are_not_sent(flow):
    flow.register(TEACHER, description=f"See https://me:{SECRET}@host/x.")
    assert SECRET not in json.dumps(flow.cloud.calls())
    assert "https://host/x" in json.dumps(flow.cloud.calls("CreateModelPackage"))


def test_existing_group_is_used_unchanged(flow):
    sagemaker = flow.cloud.aws("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP, ModelPackageGroupDescription="ours")
    flow.register(TEACHER)
    group = sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
    assert group["ModelPackageGroupDescription"] == "ours"


def test_concurrent_registrations_create_no_duplicates(flow):
    tasks, results = [flow.task(STAGE1) for _ in range(3)], []
    threads = [threading.Thread(target=lambda t=task: results.append(register.run(t))) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 3
    assert len({json.dumps(result.facts) for result in results}) == 1
    sagemaker = flow.cloud.aws("sagemaker")
    assert len(sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]) == 1
    assert len(sagemaker.list_artifacts()["ArtifactSummaries"]) == 3


def test_failed_package_is_reported_and_replaced_next_time(flow):
    flow.cloud.trouble(fail=(GROUP,), becoming=0.05)
    with pytest.raises(PokeflowError, match=r"check of it failed .* Run the same command again"):
        flow.register(TEACHER)
    flow.cloud.trouble(becoming=0.05)
    assert flow.register(TEACHER).facts["model_package_version"] == 2
    assert register_again(flow, TEACHER)[0] == {}


def test_all_pages_of_versions_are_searched(flow):
    first = flow.register(TEACHER)
    sagemaker = flow.cloud.aws("sagemaker")
    for _ in range(101):
        sagemaker.create_model_package(ModelPackageGroupName=GROUP, ModelPackageDescription="another's")
    assert flow.register(STAGE1).facts["model_package_version"] == 103
    changed, again = register_again(flow, STAGE1)
    assert (changed, again.facts["model_package_version"]) == ({}, 103)
    assert flow.register(TEACHER) == first


def test_bundle_missing_from_the_bucket_creates_nothing(flow):
    task = flow.task(TEACHER)
    bundle = task.inputs[2].record
    flow.objects.delete(f"tasks/bundle/{TEACHER}/{bundle.digest}/record.json")
    flow.cloud.forget()
    with pytest.raises(
        PokeflowError,
        match=r"does not exist, and SageMaker reads it from the bucket.*upload bundle:dinov3-teacher first",
    ):
        register.run(task)
    assert flow.cloud.mutating() == {}


def test_bundle_that_differs_from_its_record_is_refused(flow):
    task = flow.task(TEACHER)
    bundle = task.inputs[2].record
    flow.objects.write(f"tasks/bundle/{TEACHER}/{bundle.digest}/model.tar.gz", b"other", match=None)
    with pytest.raises(PokeflowError, match="differs from its record"):
        register.run(task)


def test_missing_bucket_setting_is_reported(flow):
    task = dataclasses.replace(flow.task(TEACHER), params=flow.params(remote=None))
    with pytest.raises(PokeflowError, match="Set store=s3"):
        register.run(task)


def test_package_registered_by_a_pipeline_is_completed(flow):
    task = flow.task(TEACHER, gates=HALF)
    bundle = task.inputs[2].record
    cloud, image = flow.cloud, "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.1"
    client = cloud.aws("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    address = f"{flow.remote}/tasks/bundle/dinov3-teacher/{bundle.digest}/model.tar.gz"
    arn = client.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelPackageDescription=f"dinov3-teacher v1.0, registered by a pokeflow pipeline. run:{task.digest}",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": address}],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedTransformInstanceTypes": ["ml.m5.large"],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
        },
        CustomerMetadataProperties={"model": TEACHER, "version": "v1.0", "pokeflow-run": task.digest},
        SkipModelValidation="All",
    )["ModelPackageArn"]
    result = register.run(task)

    assert result.facts["model_package_arn"] == arn
    package = flow.package(result)
    assert package["CustomerMetadataProperties"]["pokeflow-content"] == flow.model(TEACHER).record.content
    assert json.loads(package["ModelCard"]["ModelCardContent"])
    changed, _ = register_again(flow, TEACHER, gates=HALF)
    assert changed == {}
