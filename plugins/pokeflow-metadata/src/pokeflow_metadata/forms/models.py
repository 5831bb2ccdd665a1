"""Forms of a model in the manifest: one per known model type, and one for all other types."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pokeflow.schema import describe_field
from pokeflow_metadata.forms.common import Reasons

DAY = r"^\d{4}-\d\d-\d\d$"
Share = {"minimum": 0, "maximum": 1}
Difference = {"minimum": -1, "maximum": 1}
Cosine = {"minimum": -1.001, "maximum": 1.001}
Approach = Literal["knowledge_distillation", "task_specific_finetuning"]


@dataclass(frozen=True, kw_only=True)
class _Accuracies:
    top1_accuracy: Annotated[
        float | None,
        describe_field("Share of queries whose first match is right; protocol describes the queries.", **Share),
    ]
    top5_accuracy: Annotated[
        float | None, describe_field("Share of queries with the right match among the first five.", **Share)
    ]


@dataclass(frozen=True, kw_only=True)
class _Protocols:
    protocol: Annotated[dict[str, str], describe_field("Task and method that measured each known figure.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class _EmbeddingQuality:
    embedding_quality: Annotated[str | None, describe_field("A word that no task measures.")]


@dataclass(frozen=True, kw_only=True)
class _AgainstTeacher:
    accuracy_gap: Annotated[
        float | None,
        describe_field("The teacher's top-1 accuracy minus the student's, a difference of shares.", **Difference),
    ]
    cosine_similarity_to_teacher: Annotated[
        float | None,
        describe_field("Mean cosine of the student's and the teacher's embeddings of the same pictures.", **Cosine),
    ]


@dataclass(frozen=True, kw_only=True)
class _AgainstParent:
    cosine_similarity_to_parent: Annotated[
        float | None, describe_field("Mean cosine of the embeddings before and after compilation.", **Cosine)
    ]
    accuracy_drop: Annotated[
        float | None,
        describe_field(
            "Top-1 accuracy before compilation minus top-1 accuracy after it, a difference of shares.", **Difference
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class OtherMetrics(_Protocols, _Accuracies):
    """Figures of a model of another type."""


@dataclass(frozen=True, kw_only=True)
class TeacherMetrics(_Protocols, _EmbeddingQuality, _Accuracies):
    """Figures of a teacher."""


@dataclass(frozen=True, kw_only=True)
class StudentMetrics(_Protocols, _AgainstTeacher, _Accuracies):
    """Figures of a student."""


@dataclass(frozen=True, kw_only=True)
class OptimizedMetrics(_Protocols, _AgainstParent, _Accuracies):
    """Figures of a compiled model."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Figures of the benchmark at batch 1."""

    inference_latency_ms: Annotated[
        float | None, describe_field("Median time of the network alone, in milliseconds.", minimum=0)
    ]
    throughput_fps: Annotated[float | None, describe_field("Pictures per second.", minimum=0)]
    power_consumption_w: Annotated[float | None, describe_field("Power, in watts.", minimum=0)]
    device: Annotated[str | None, describe_field("Device on which it was measured.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class _Network:
    version: Annotated[str, describe_field("The version described here: the one produced last.")]
    type: Annotated[str | None, describe_field("The model's type in the lineage.")]
    parent_model: Annotated[str | None, describe_field("The parent in the lineage, <model>:<version>.")]
    architecture: Annotated[str | None, describe_field("The network.")]
    parameters: Annotated[str | None, describe_field("Number of parameters, abbreviated, such as 304M.")]
    parameters_count: Annotated[int | None, describe_field("Number of parameters.", minimum=0)]
    embedding_dim: Annotated[int | None, describe_field("Length of an embedding.", minimum=1)]
    input_size: Annotated[str | None, describe_field("Size of a picture in pixels, such as 224x224.")]
    framework: Annotated[str | None, describe_field("Framework that produced it, with its version.")]


@dataclass(frozen=True, kw_only=True)
class _Trained:
    training_job: Annotated[str | None, describe_field("The SageMaker job that produced it.")]
    training_date: Annotated[
        str | None, describe_field("Day on which the task that produced it ended, UTC.", pattern=DAY)
    ]


@dataclass(frozen=True, kw_only=True)
class _Compressed:
    compression_ratio: Annotated[
        str | None,
        describe_field(
            "The teacher's number of parameters divided by its own, such as 64.7x.", pattern=r"^\d+(\.\d+)?x$"
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    format: Annotated[str | None, describe_field("Format of the compiled file.")]
    quantization: Annotated[str | None, describe_field("Number type and method of the quantization.")]
    size: Annotated[
        str | None, describe_field("Size of the compiled network, such as 14.5MB.", pattern=r"^\d+(\.\d+)?MB$")
    ]
    target_hardware: Annotated[
        str | None,
        describe_field(
            "Device for which it was compiled; the device of the benchmark if the compiler does not name one."
        ),
    ]
    compilation_date: Annotated[str | None, describe_field("Day on which its compilation ended, UTC.", pattern=DAY)]


@dataclass(frozen=True, kw_only=True)
class _Published:
    size_mb: Annotated[float | None, describe_field("Size of the network's files in 10^6 bytes.", minimum=0)]
    model_registry_arn: Annotated[str | None, describe_field("The model package in SageMaker's registry.")]
    s3_path: Annotated[str | None, describe_field("The folder of this version on S3.", pattern="^s3://")]
    digest: Annotated[str | None, describe_field("Digest of everything that determined this version.")]
    content: Annotated[str | None, describe_field("Digest of the files of the task that produced it.")]
    cost_usd: Annotated[float | None, describe_field("Cost of the task that produced it, in US dollars.")]
    versions: Annotated[
        list[str], describe_field("All published versions of the model, in ascending order.", minItems=1)
    ]


@dataclass(frozen=True, kw_only=True)
class _Approach:
    training_approach: Annotated[Approach | None, describe_field("Training approach, derived from its losses.")]


@dataclass(frozen=True, kw_only=True)
class Teacher(_Published, _Trained, _Network):
    """A model of type teacher."""

    metrics: TeacherMetrics
    performance: Performance
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class Student(_Approach, _Published, _Compressed, _Trained, _Network):
    """A model of type student."""

    metrics: StudentMetrics
    performance: Performance
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class OptimizedModel(_Published, _Compiled, _Network):
    """A model of type optimized."""

    metrics: OptimizedMetrics
    performance: Performance
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class Model(_Published, _Network):
    """A model of any other type, or of an unknown one."""

    metrics: OtherMetrics
    performance: Performance
    reasons: Reasons


Metrics = TeacherMetrics | StudentMetrics | OptimizedMetrics | OtherMetrics
Entry = Teacher | Student | OptimizedModel | Model
OF_TYPE: dict[str, type[Entry]] = {
    "teacher": Teacher,
    "student": Student,
    "optimized": OptimizedModel,
}
