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
        describe_field("Share of queries answered right first; what they were stands in protocol.", **Share),
    ]
    top5_accuracy: Annotated[
        float | None, describe_field("Share of queries with the right answer among the first five.", **Share)
    ]


@dataclass(frozen=True, kw_only=True)
class _Protocols:
    protocol: Annotated[dict[str, str], describe_field("For each known figure, which task measured it and how.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class _EmbeddingQuality:
    embedding_quality: Annotated[str | None, describe_field("A word that no task measures.")]


@dataclass(frozen=True, kw_only=True)
class _AgainstTeacher:
    accuracy_gap: Annotated[
        float | None,
        describe_field("The teacher's top-1 accuracy less the student's, a difference of shares.", **Difference),
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
        describe_field("Top-1 accuracy before compilation less that after it, a difference of shares.", **Difference),
    ]


@dataclass(frozen=True, kw_only=True)
class OtherMetrics(_Protocols, _Accuracies):
    """The figures of a model of no known type."""


@dataclass(frozen=True, kw_only=True)
class TeacherMetrics(_Protocols, _EmbeddingQuality, _Accuracies):
    """A teacher's figures."""


@dataclass(frozen=True, kw_only=True)
class StudentMetrics(_Protocols, _AgainstTeacher, _Accuracies):
    """A student's figures."""


@dataclass(frozen=True, kw_only=True)
class OptimizedMetrics(_Protocols, _AgainstParent, _Accuracies):
    """A compiled model's figures."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Figures of the benchmark at batch 1."""

    inference_latency_ms: Annotated[
        float | None, describe_field("Median time of the network alone, in milliseconds.", minimum=0)
    ]
    throughput_fps: Annotated[float | None, describe_field("Pictures a second.", minimum=0)]
    power_consumption_w: Annotated[float | None, describe_field("Power, in watts.", minimum=0)]
    device: Annotated[str | None, describe_field("What it was measured on.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class _Network:
    version: Annotated[str, describe_field("The version shown: the one made last.")]
    type: Annotated[str | None, describe_field("The model's type in the lineage.")]
    parent_model: Annotated[str | None, describe_field("The parent in the lineage, <model>:<version>.")]
    architecture: Annotated[str | None, describe_field("The network.")]
    parameters: Annotated[str | None, describe_field("How many parameters, in short, as 304M.")]
    parameters_count: Annotated[int | None, describe_field("How many parameters.", minimum=0)]
    embedding_dim: Annotated[int | None, describe_field("Length of an embedding.", minimum=1)]
    input_size: Annotated[str | None, describe_field("Pixels of a picture, as 224x224.")]
    framework: Annotated[str | None, describe_field("What made it, with its version.")]


@dataclass(frozen=True, kw_only=True)
class _Trained:
    training_job: Annotated[str | None, describe_field("The SageMaker job that made it.")]
    training_date: Annotated[str | None, describe_field("The day its making ended, UTC.", pattern=DAY)]


@dataclass(frozen=True, kw_only=True)
class _Compressed:
    compression_ratio: Annotated[
        str | None, describe_field("The teacher's parameters over its own, as 64.7x.", pattern=r"^\d+(\.\d+)?x$")
    ]


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    format: Annotated[str | None, describe_field("Of the compiled file.")]
    quantization: Annotated[str | None, describe_field("To which numbers, and how.")]
    size: Annotated[str | None, describe_field("Of the compiled network, as 14.5MB.", pattern=r"^\d+(\.\d+)?MB$")]
    target_hardware: Annotated[
        str | None,
        describe_field("What it was compiled for; where the compiler does not say, what it was measured on."),
    ]
    compilation_date: Annotated[str | None, describe_field("The day its compilation ended, UTC.", pattern=DAY)]


@dataclass(frozen=True, kw_only=True)
class _Published:
    size_mb: Annotated[float | None, describe_field("Size of the network's files in 10^6 bytes.", minimum=0)]
    model_registry_arn: Annotated[str | None, describe_field("The model package in SageMaker's registry.")]
    s3_path: Annotated[str | None, describe_field("The folder of this version on S3.", pattern="^s3://")]
    digest: Annotated[str | None, describe_field("Of all that decided this version.")]
    content: Annotated[str | None, describe_field("Of the files that its making left.")]
    cost_usd: Annotated[float | None, describe_field("What its making cost, in US dollars.")]
    versions: Annotated[
        list[str], describe_field("All published versions of the model, in the order people count.", minItems=1)
    ]


@dataclass(frozen=True, kw_only=True)
class _Approach:
    training_approach: Annotated[Approach | None, describe_field("How it was taught, by its losses.")]


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
    """A model of any other type, or of none that is known."""

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
