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
    """A version of a model, a data set, or what was migrated together."""

    id: Annotated[str, describe_field("<model>:<version>, data:<content>, or the unit of a migration.")]
    kind: Annotated[Literal["model", "data", "migration"], describe_field("What it is.")]
    published: Annotated[bool, describe_field("Whether it is in the tree; a parent that is only named is not.")]
    model: Annotated[str | None, describe_field("The model.")]
    version: Annotated[str | None, describe_field("Its version.")]
    type: Annotated[str | None, describe_field("The model's type in the lineage, or data.")]
    stage: Annotated[str | None, describe_field("The stage that made it.")]
    backend: Annotated[str | None, describe_field("The backend that made it.")]
    revision: Annotated[str | None, describe_field("Of the backend.")]
    digest: Annotated[str | None, describe_field("Of all that decided it.")]
    content: Annotated[str | None, describe_field("Of its files.")]
    path: Annotated[str | None, describe_field("Where it lies, below the tree's root.")]
    approach: Annotated[
        str | None,
        describe_field("How it was made: train, compile, knowledge_distillation or task_specific_finetuning."),
    ]
    generation: Annotated[
        int | None,
        describe_field("Which stage of distillation a student is: 1 where its parent is no student.", minimum=1),
    ]
    params: Annotated[
        dict[str, Any] | None,
        describe_field("The backend's parameters as the record has them; a null in here is a setting."),
    ]
    started: Annotated[str | None, describe_field("When its making began, UTC.", pattern=MOMENT)]
    finished: Annotated[str | None, describe_field("When its making ended, UTC.", pattern=MOMENT)]
    origin: Annotated[str | None, describe_field("Where it was migrated from.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """That one thing was made from another."""

    parent: Annotated[str, describe_field("The id of what was read.")]
    child: Annotated[str, describe_field("The id of what was made.")]
    relation: Annotated[Relation | None, describe_field("What the parent is to the child.")]
    primary: Annotated[
        bool,
        describe_field(
            "Whether it is the parent in the lineage; other parents, such as a second teacher, and data are not."
        ),
    ]
    task: Annotated[str | None, describe_field("The task whose result was read.")]
    content: Annotated[str | None, describe_field("The content that was read.")]
    content_is_published: Annotated[
        bool | None, describe_field("Whether the parent that is published is the very content that was read.")
    ]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLineage:
    """Every published version, and what it was made from."""

    project: ProjectName
    schema_version: SchemaVersion
    nodes: Annotated[list[Node], describe_field("Versions of models, data sets and migrations, sorted by kind and id.")]
    edges: Annotated[
        list[Edge], describe_field("What was made from what, sorted by child, the parent in the lineage first.")
    ]
