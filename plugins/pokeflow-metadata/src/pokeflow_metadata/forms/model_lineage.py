"""Form of ``model_lineage.json``."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pokeflow.schema import MOMENT, describe_field
from pokeflow_metadata.forms.common import ProjectName, Reasons, SchemaVersion

Relation = Literal[
    "distillation",
    "fine-tuning",
    "compilation",
    "compilation + quantization",
    "trained_on",
    "calibrated_on",
    "made_from",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A version of a model, a data set, or the files of one migration."""

    id: Annotated[str, describe_field("<model>:<version>, data:<content>, or the unit of a migration.")]
    kind: Annotated[Literal["model", "data", "migration"], describe_field("Kind of the node.")]
    published: Annotated[
        bool, describe_field("Whether it is in the tree; false for a parent that is only referred to.")
    ]
    model: Annotated[str | None, describe_field("The model.")]
    version: Annotated[str | None, describe_field("Its version.")]
    type: Annotated[str | None, describe_field("The model's type in the lineage, or data.")]
    stage: Annotated[str | None, describe_field("The stage that produced it.")]
    backend: Annotated[str | None, describe_field("The backend that produced it.")]
    revision: Annotated[str | None, describe_field("Revision of the backend.")]
    digest: Annotated[str | None, describe_field("Digest of everything that determined it.")]
    content: Annotated[str | None, describe_field("Digest of its files.")]
    path: Annotated[str | None, describe_field("Path relative to the tree's root.")]
    approach: Annotated[
        str | None,
        describe_field("Method that produced it: train, compile, knowledge_distillation or task_specific_finetuning."),
    ]
    generation: Annotated[
        int | None,
        describe_field("Number of the distillation stage of a student: 1 if its parent is not a student.", minimum=1),
    ]
    params: Annotated[
        dict[str, Any] | None,
        describe_field("The backend's parameters as recorded; a null in here is a setting."),
    ]
    started: Annotated[str | None, describe_field("Start of the task that produced it, UTC.", pattern=MOMENT)]
    finished: Annotated[str | None, describe_field("End of the task that produced it, UTC.", pattern=MOMENT)]
    origin: Annotated[str | None, describe_field("Address from which it was migrated.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One node was produced from another."""

    parent: Annotated[str, describe_field("Id of the node that was read.")]
    child: Annotated[str, describe_field("Id of the node that was produced.")]
    relation: Annotated[Relation | None, describe_field("Relation of the parent to the child.")]
    primary: Annotated[
        bool,
        describe_field(
            "Whether it is the parent in the lineage; other parents, such as a second teacher, and data are not."
        ),
    ]
    task: Annotated[str | None, describe_field("The task whose result was read.")]
    content: Annotated[str | None, describe_field("Digest of the content that was read.")]
    content_is_published: Annotated[
        bool | None, describe_field("Whether the published parent has exactly the content that was read.")
    ]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLineage:
    """Every published version, and the versions from which it was produced."""

    project: ProjectName
    schema_version: SchemaVersion
    nodes: Annotated[list[Node], describe_field("Versions of models, data sets and migrations, sorted by kind and id.")]
    edges: Annotated[
        list[Edge], describe_field("Parents of the nodes, sorted by child, the parent in the lineage first.")
    ]
