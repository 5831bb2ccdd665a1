"""Form of ``project_manifest.json``."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec

from pokeflow.schema import describe_field, document_schema
from pokeflow_metadata.forms.common import NUMBER_OR_NULL, Reasons, SchemaVersion
from pokeflow_metadata.forms.models import OF_TYPE, Model, OptimizedModel, Student, Teacher

SECOND = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment."""

    name: Annotated[str, describe_field("Name of the experiment in the tracking server.")]
    run_count: Annotated[int, describe_field("Number of its runs in the training history.", minimum=1)]
    best_run_id: Annotated[
        str | None, describe_field("The run with the highest top-1 accuracy of those that have one.")
    ]
    stages: (
        Annotated[list[str], describe_field("Models that were trained in it, if there are several.", minItems=2)]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """Contents of the tracking server."""

    mlflow_tracking_uri: Annotated[str | None, describe_field("Address of the tracking server.")]
    experiments: Annotated[list[Experiment], describe_field("The experiments of the training history.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """The data set."""

    s3_path: Annotated[str | None, describe_field("The folder of the link on S3.", pattern="^s3://")]
    num_classes: Annotated[int | None, describe_field("Number of cards to distinguish.", minimum=0)]
    train_samples: Annotated[int | None, describe_field("Cards of the train split.", minimum=0)]
    val_samples: Annotated[int | None, describe_field("Cards of the val split.", minimum=0)]
    test_samples: Annotated[int | None, describe_field("Cards of the test split.", minimum=0)]
    size_gb: Annotated[float | None, describe_field("Size of its files in 10^9 bytes.", minimum=0)]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """Data set with which the compiler is calibrated."""

    s3_path: Annotated[str | None, describe_field("The folder of the link on S3.", pattern="^s3://")]
    num_samples: Annotated[int | None, describe_field("Number of pictures.", minimum=0)]
    size_mb: Annotated[float | None, describe_field("Size of the pictures' file in 10^6 bytes.", minimum=0)]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasets:
    """Data sets of the models."""

    training: Annotated[TrainingData, describe_field("The data set.")]
    calibration: Annotated[CalibrationData, describe_field("Data set with which the compiler is calibrated.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Infrastructure:
    """Location of the project, and machines that produced it."""

    s3_bucket: Annotated[str | None, describe_field("The bucket of the tree.")]
    region: Annotated[str | None, describe_field("The bucket's region.")]
    training_instance: Annotated[str | None, describe_field("Machines that trained the newest versions.")]
    compilation_instance: Annotated[str | None, describe_field("Machines that compiled the newest versions.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTracking:
    """Cost of the published versions; each task is counted once. A sum is known only if every part is."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "patternProperties": {
            r"^student_stage([3-9]|[1-9]\d+)_cost$": {
                "description": "Of all students of that stage, in US dollars.",
                **NUMBER_OR_NULL,
            }
        }
    }
    total_training_cost_usd: Annotated[
        float | None, describe_field("Cost of all teachers and students in US dollars, without compilation.")
    ]
    teacher_training_cost: Annotated[float | None, describe_field("Cost of all teachers in US dollars.")]
    student_stage1_cost: Annotated[
        float | None, describe_field("Cost in US dollars of all students whose parent is not a student.")
    ]
    student_stage2_cost: Annotated[
        float | None, describe_field("Cost in US dollars of all students whose parent is a student of the first stage.")
    ]
    compilation_cost: Annotated[float | None, describe_field("Cost of all compiled models in US dollars.")]
    reasons: Reasons


def _if_of_type(types: list[str], then: type) -> dict[str, Any]:
    return {
        "if": {"properties": {"type": {"enum": types}}, "required": ["type"]},
        "then": {"$ref": f"#/$defs/{then.__name__}"},
    }


BY_TYPE = {
    "description": "A model, by its type.",
    "type": "object",
    "allOf": [
        *(_if_of_type([name], form) for name, form in OF_TYPE.items()),
        {
            "if": {"not": {"properties": {"type": {"enum": list(OF_TYPE)}}, "required": ["type"]}},
            "then": {"$ref": f"#/$defs/{Model.__name__}"},
        },
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectManifest:
    """Summary of the project."""

    project_name: Annotated[str, describe_field("The project's name.")]
    project_id: Annotated[str | None, describe_field("Assigned by a service that keeps projects, such as SageMaker.")]
    created_at: Annotated[str | None, describe_field("Start of the first recorded run, UTC.", pattern=SECOND)]
    last_updated: Annotated[str | None, describe_field("End of the last recorded run, UTC.", pattern=SECOND)]
    version: Annotated[str, describe_field("The project's own version.")]
    schema_version: SchemaVersion
    description: Annotated[str, describe_field("Description of the project.")]
    models: Annotated[
        dict[str, Any],
        describe_field("The newest version of each model, in the order of the lineage.", additionalProperties=BY_TYPE),
    ]
    experiments: Annotated[Experiments, describe_field("Contents of the tracking server.")]
    datasets: Annotated[Datasets, describe_field("Data sets of the models.")]
    infrastructure: Annotated[Infrastructure, describe_field("Location of the project, and machines that produced it.")]
    cost_tracking: Annotated[
        CostTracking,
        describe_field("Cost of the published versions; a sum is known only if every part is."),
    ]
    reasons: Reasons


SCHEMA = document_schema(ProjectManifest, Teacher, Student, OptimizedModel, Model)
