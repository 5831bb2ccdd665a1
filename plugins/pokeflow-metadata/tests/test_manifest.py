"""Test the manifest's specified fields with manually computed values, and the reasons for unknown ones."""

from dataclasses import replace
from typing import Any

import pytest

from pokeflow.project import PublishedFile, Receipt
from pokeflow.types import About
from pokeflow_metadata import manifest

from .documents_support import (
    BENCHMARKS,
    CLOUD,
    COMPILE,
    DISTILL1,
    DISTILL2,
    HISTORY,
    LOCAL,
    RECEIPTS,
    STAGE1,
    STAGE2,
    TEACHER,
    TEST,
    TINY,
    TRAIN,
    VAL,
    VERSIONS,
    faults_of,
    nulls,
    receipt,
    record,
)


def built(*receipts: Receipt, about: About = CLOUD, runs: Any = HISTORY) -> dict[str, Any]:
    document = manifest.document(about, receipts, runs)
    assert faults_of(document, "project_manifest") == []
    return document


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[int(key) if isinstance(document, list) else key]
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    {
        "project_name": "pokemon-card-recognition",
        "project_id": "p-abc123",
        "created_at": "2026-01-10T08:00:00Z",
        "last_updated": "2026-01-10T16:30:00Z",
        f"models.{TEACHER}.parameters": "304M",
        f"models.{TEACHER}.parameters_count": 304_000_000,
        f"models.{TEACHER}.embedding_dim": 768,
        f"models.{TEACHER}.input_size": "224x224",
        f"models.{TEACHER}.framework": "PyTorch 2.8.0",
        f"models.{TEACHER}.training_date": "2026-01-10",
        f"models.{TEACHER}.s3_path": f"{CLOUD.uri}/models/dinov3-teacher/v1.0/",
        f"models.{TEACHER}.metrics.top1_accuracy": 0.75,
        f"models.{TEACHER}.metrics.protocol.top1_accuracy": f"benchmark: {TEST}",
        f"models.{STAGE1}.parent_model": f"{TEACHER}:v1.0",
        f"models.{STAGE1}.parameters": "4.7M",
        f"models.{STAGE1}.compression_ratio": "64.7x",  # 304 M over 4.7 M
        f"models.{STAGE1}.training_approach": "knowledge_distillation",
        f"models.{STAGE1}.metrics.accuracy_gap": 0.25,  # 0.75 less 0.5, of the benchmarks
        f"models.{STAGE1}.metrics.cosine_similarity_to_teacher": 0.81,
        f"models.{STAGE1}.metrics.protocol.cosine_similarity_to_teacher": f"distill: {VAL}",
        f"models.{STAGE1}.s3_path": f"{CLOUD.uri}/models/efficientnet-student/stage1/v1.0/",
        f"models.{STAGE2}.parent_model": f"{STAGE1}:v1.0",
        f"models.{STAGE2}.compression_ratio": "64.7x",
        f"models.{STAGE2}.training_approach": "task_specific_finetuning",
        f"models.{STAGE2}.metrics.accuracy_gap": 0.125,
        f"models.{TINY}.format": "ONNX",
        f"models.{TINY}.size": "14.5MB",
        f"models.{TINY}.size_mb": 14.52,
        f"models.{TINY}.target_hardware": "AMD EPYC",
        f"models.{TINY}.compilation_date": "2026-01-10",
        f"models.{TINY}.performance.inference_latency_ms": 1.0,
        f"models.{TINY}.performance.throughput_fps": 1000.0,
        "experiments.experiments.2.name": "pokemon-card-student-distillation",
        "experiments.experiments.2.run_count": 2,
        "experiments.experiments.2.stages": ["stage1", "stage2"],
        "experiments.experiments.2.best_run_id": f"run-of-{STAGE2}",
        "datasets.training.s3_path": f"{CLOUD.uri}/data/processed/",
        "datasets.training.num_classes": 60,
        "datasets.training.train_samples": 48,
        "datasets.training.val_samples": 9,
        "datasets.training.test_samples": 3,
        "datasets.training.size_gb": 0.003141592,
        "datasets.calibration.s3_path": f"{CLOUD.uri}/data/calibration/",
        "datasets.calibration.num_samples": 32,
        "datasets.calibration.size_mb": 24.084608,
        "infrastructure.s3_bucket": "pokemon-card-training-us-east-2",
        "infrastructure.training_instance": "ml.p4d.24xlarge",
        "cost_tracking.total_training_cost_usd": 11.0,  # 4 + 4 + 3, without the compilation
        "cost_tracking.teacher_training_cost": 4.0,
        "cost_tracking.student_stage1_cost": 4.0,
        "cost_tracking.student_stage2_cost": 3.0,
        "cost_tracking.compilation_cost": 0.5,
    }.items(),
)
def test_fields_match_values_computed_manually(path: str, value: Any) -> None:
    assert at(built(*RECEIPTS), path) == value


@pytest.mark.parametrize(
    ("path", "reason"),
    {
        "project_id": "no project is created in SageMaker, or its id is not configured",
        f"models.{TEACHER}.parent_model": "it has no parent",
        f"models.{TEACHER}.s3_path": "the published tree is in a local folder",
        f"models.{TEACHER}.training_job": "trained by executor 'sagemaker'; its record names no SageMaker job",
        f"models.{TEACHER}.model_registry_arn": "no registration with SageMaker is recorded",
        f"models.{TEACHER}.metrics.embedding_quality": "a word, not a measurement: read top1_accuracy and its protocol",
        f"models.{TINY}.performance.power_consumption_w": "not measured",
        "experiments.mlflow_tracking_uri": "no tracking that other machines can reach is configured",
        "datasets.training.s3_path": "the published tree is in a local folder",
        "infrastructure.s3_bucket": "the published tree is in a local folder",
        "infrastructure.training_instance": f"train:{TEACHER} was produced by executor 'sagemaker', which records no"
        " instance type",
    }.items(),
)
def test_unknown_fields_of_a_local_folder_have_reasons(path: str, reason: str) -> None:
    assert nulls(built(*RECEIPTS, about=LOCAL))[path] == reason


def test_unbilled_stage_has_no_cost_and_no_total() -> None:
    unbilled = replace(DISTILL2, cost_usd=None, reasons={"cost_usd": "executor 'local' is not billed"})
    costs = built(VERSIONS[0], VERSIONS[1], receipt(unbilled), VERSIONS[3])["cost_tracking"]
    assert costs["teacher_training_cost"] == 4.0
    assert costs["student_stage2_cost"] is costs["total_training_cost_usd"] is None
    assert costs["reasons"] == dict.fromkeys(
        ("total_training_cost_usd", "student_stage2_cost"), f"{STAGE2}:v2.0: executor 'local' is not billed"
    )


def test_costs_cover_all_versions_once() -> None:
    again = replace(TRAIN, version="v1.1", digest="another", cost_usd=5.0)
    renamed = replace(TRAIN, version="v1.2")
    costs = built(VERSIONS[0], receipt(again), receipt(renamed))["cost_tracking"]
    assert costs["teacher_training_cost"] == costs["total_training_cost_usd"] == 9.0
    assert costs["reasons"]["student_stage1_cost"] == "no student of the first stage is published"


def test_third_stage_has_its_own_cost() -> None:
    third = replace(
        VERSIONS[2],
        unit="models/third/v1",
        model="third",
        version="v1",
        parents=(f"{STAGE2}:v2.0",),
        records=(record("distill:third", 20, cost=1.0),),
    )
    assert built(*VERSIONS, third)["cost_tracking"]["student_stage3_cost"] == 1.0


def test_shown_version_is_the_newest() -> None:
    older = replace(TRAIN, version="v2.0", started="2025-01-01T00:00:00+00:00", finished="2025-01-02T00:00:00+00:00")
    shown = built(receipt(older), VERSIONS[0])["models"][TEACHER]
    assert shown["version"] == "v1.0"
    assert shown["versions"] == ["v1.0", "v2.0"]


def test_versions_are_sorted_naturally() -> None:
    several = [receipt(replace(TRAIN, version=version)) for version in ("v10.0", "v9.0", "v1.0")]
    assert built(*several)["models"][TEACHER]["versions"] == ["v1.0", "v9.0", "v10.0"]


def test_models_are_in_lineage_order_then_others() -> None:
    other = replace(VERSIONS[0], unit="models/a-model/v1", model="a-model", version="v1")
    assert list(built(other, *reversed(RECEIPTS))["models"]) == [TEACHER, STAGE1, STAGE2, TINY, "a-model"]


def test_accuracy_without_a_benchmark_is_that_of_training() -> None:
    shown = built(receipt(TRAIN), receipt(DISTILL1))["models"][STAGE1]
    assert shown["metrics"]["top1_accuracy"] == 0.7
    assert shown["metrics"]["protocol"]["top1_accuracy"] == f"distill: {VAL}"
    assert shown["metrics"]["accuracy_gap"] == 0.2
    assert shown["metrics"]["protocol"]["accuracy_gap"] == f"distill: {VAL}"
    assert shown["performance"]["reasons"]["inference_latency_ms"] == f"{STAGE1}:v1.0 is not benchmarked"


def test_missing_benchmark_metric_has_its_reason() -> None:
    bench = replace(
        BENCHMARKS[3],
        metrics={**BENCHMARKS[3].metrics, "power_w": None},
        reasons={**BENCHMARKS[3].reasons, "power_w": "no sensor is read"},
    )
    performance = built(receipt(COMPILE, bench))["models"][TINY]["performance"]
    assert performance["reasons"]["power_consumption_w"] == "no sensor is read"


def test_compression_without_the_teacher_is_from_the_record() -> None:
    assert built(VERSIONS[1])["models"][STAGE1]["compression_ratio"] == "64.7x"
    without = replace(DISTILL1, facts={k: v for k, v in DISTILL1.facts.items() if k != "compression_ratio"})
    shown = built(receipt(without))["models"][STAGE1]
    assert shown["reasons"]["compression_ratio"] == f"{TEACHER}:v1.0 is not published"


def test_recorded_instance_takes_precedence_over_configuration() -> None:
    trained = replace(TRAIN, facts={**TRAIN.facts, "instance_type": "ml.g5.xlarge"})
    machines = built(receipt(trained), VERSIONS[1], VERSIONS[3])["infrastructure"]
    assert machines["training_instance"] == "ml.g5.xlarge, ml.p4d.24xlarge"


def test_recorded_registration_and_job_are_shown() -> None:
    trained = replace(TRAIN, facts={**TRAIN.facts, "training_job": "pokeflow-dinov3-teacher-ffb0"})
    registered = record(f"register:{TEACHER}", 17, facts={"model_package_arn": "arn:aws:sagemaker:…"})
    shown = built(receipt(trained, registered))["models"][TEACHER]
    assert (shown["training_job"], shown["model_registry_arn"]) == (
        "pokeflow-dinov3-teacher-ffb0",
        "arn:aws:sagemaker:…",
    )


def test_passwords_in_addresses_are_removed() -> None:
    about = replace(CLOUD, tracking_uri="https://me:secret@mlflow.example.com")
    assert built(about=about)["experiments"]["mlflow_tracking_uri"] == "https://mlflow.example.com"


def test_migrated_version_shows_its_facts_and_reasons() -> None:
    facts = {
        "architecture": "DINOv3-ViT-L/16", "parameters": 304_000_000, "training_date": "2026-01-10",
        "top1_accuracy": 0.9, "embedding_dim": "768 or so", "task_accuracy": 93.0,
        "migrated": {"by": "migrations/old"},
    }  # fmt: skip
    old = Receipt("models/x/v0.9", (), "x", "v0.9", "teacher", origin="s3://old/models/x", facts=facts)
    shown = built(old)["models"]["x"]
    assert (shown["parameters"], shown["parameters_count"], shown["training_date"]) == (
        "304M",
        304_000_000,
        "2026-01-10",
    )
    assert shown["metrics"]["top1_accuracy"] == 0.9
    assert shown["metrics"]["protocol"] == {"top1_accuracy": "migrated from s3://old/models/x; not recorded"}
    assert shown["reasons"]["embedding_dim"].startswith("embedding_dim, as stated at its migration, is '768")
    assert shown["reasons"]["framework"] == "migrated from s3://old/models/x; not recorded"
    assert shown["reasons"]["digest"] == "migrated from s3://old/models/x; not recorded"


def test_migrated_links_are_used() -> None:
    link = PublishedFile("data/processed/link.json", 9, "0" * 64, "document:link", False)
    training = built(Receipt("migrations/old", (link,), origin="s3://old"))["datasets"]["training"]
    assert training["s3_path"] == f"{CLOUD.uri}/data/processed/"
    assert training["reasons"]["num_classes"] == "no data set is published"


def test_manifest_of_nothing_published_is_valid() -> None:
    document = built(runs=None)
    assert document["models"] == {}
    assert document["reasons"]["created_at"] == "nothing that is published has a record"
