"""Test that the manifest has all names and nesting of section 5 of the specification."""

from typing import Any

import pytest

from pokeflow_metadata import manifest

from .documents_support import CLOUD, HISTORY, RECEIPTS, faults_of

# Section 5 of the specification: every key of its example, as a path.
SPECIFIED = """
project_name project_id created_at last_updated version description models experiments datasets infrastructure
cost_tracking
models.dinov3-teacher.version models.dinov3-teacher.type models.dinov3-teacher.architecture
models.dinov3-teacher.parameters models.dinov3-teacher.embedding_dim models.dinov3-teacher.input_size
models.dinov3-teacher.framework models.dinov3-teacher.training_job models.dinov3-teacher.training_date
models.dinov3-teacher.s3_path models.dinov3-teacher.model_registry_arn models.dinov3-teacher.metrics.top1_accuracy
models.dinov3-teacher.metrics.top5_accuracy models.dinov3-teacher.metrics.embedding_quality
models.efficientnet-student-stage1.version models.efficientnet-student-stage1.type
models.efficientnet-student-stage1.parent_model models.efficientnet-student-stage1.architecture
models.efficientnet-student-stage1.parameters models.efficientnet-student-stage1.compression_ratio
models.efficientnet-student-stage1.training_approach models.efficientnet-student-stage1.training_date
models.efficientnet-student-stage1.metrics.accuracy_gap
models.efficientnet-student-stage1.metrics.cosine_similarity_to_teacher
models.efficientnet-student-stage2.version models.efficientnet-student-stage2.type
models.efficientnet-student-stage2.parent_model models.efficientnet-student-stage2.architecture
models.efficientnet-student-stage2.parameters models.efficientnet-student-stage2.training_approach
models.efficientnet-student-stage2.training_date models.efficientnet-student-stage2.metrics.top1_accuracy
models.efficientnet-student-stage2.metrics.top5_accuracy
models.efficientnet-hailo-optimized.version models.efficientnet-hailo-optimized.type
models.efficientnet-hailo-optimized.parent_model models.efficientnet-hailo-optimized.architecture
models.efficientnet-hailo-optimized.format models.efficientnet-hailo-optimized.quantization
models.efficientnet-hailo-optimized.size models.efficientnet-hailo-optimized.target_hardware
models.efficientnet-hailo-optimized.compilation_date
models.efficientnet-hailo-optimized.performance.inference_latency_ms
models.efficientnet-hailo-optimized.performance.throughput_fps
models.efficientnet-hailo-optimized.performance.power_consumption_w
experiments.mlflow_tracking_uri experiments.experiments
experiments.experiments.0.name experiments.experiments.0.run_count experiments.experiments.0.best_run_id
experiments.experiments.2.name experiments.experiments.2.run_count experiments.experiments.2.stages
datasets.training.s3_path datasets.training.num_classes datasets.training.train_samples datasets.training.val_samples
datasets.training.test_samples datasets.training.size_gb
datasets.calibration.s3_path datasets.calibration.num_samples datasets.calibration.size_mb
infrastructure.s3_bucket infrastructure.region infrastructure.training_instance infrastructure.compilation_instance
cost_tracking.total_training_cost_usd cost_tracking.teacher_training_cost cost_tracking.student_stage1_cost
cost_tracking.student_stage2_cost cost_tracking.compilation_cost
"""


def built() -> dict[str, Any]:
    return manifest.document(CLOUD, RECEIPTS, HISTORY)


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[int(key) if isinstance(document, list) else key]
    return document


@pytest.mark.parametrize("path", SPECIFIED.split())
def test_manifest_has_every_specified_field(path: str) -> None:
    at(built(), path)


@pytest.mark.parametrize("path", SPECIFIED.split())
def test_schema_requires_every_specified_field(path: str) -> None:
    document = built()
    head, _, last = path.rpartition(".")
    if head in {"models", "experiments.experiments.2"} or last in {"0", "2"}:
        return
    holder = at(document, head) if head else document
    del holder[last]
    holder.get("reasons", {}).pop(last, None)
    assert faults_of(document, "project_manifest")
