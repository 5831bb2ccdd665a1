"""Schema of the configuration: one dataclass per group. A key that is not defined here is rejected in YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pokeflow.gates import Gate
from pokeflow.types import Budget

FORMER_KEYS = {"on": "executor", "then": "post_stages", "of": "applies_to"}
"""Former names of renamed keys, with the present name."""
_EXECUTOR = {"formerly": {"on": "on", True: "on", "True": "on"}}  # YAML 1.1 reads the old key as true
_POST_STAGES = {"formerly": {"then": "then"}}


@dataclass(frozen=True, slots=True)
class Executor:
    """Executor of tasks that name no other one; a task may name an executor with parameters that override these."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageSettings:
    """A backend, its parameters, and the executor that runs it (by default the one of the group ``executor``).

    Without a backend the stage is skipped. If ``optional``, it is also skipped if no installed plugin implements it.
    """

    backend: str | None
    params: dict[str, Any] = field(default_factory=dict)
    executor: str | Executor | None = field(default=None, metadata=_EXECUTOR)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Parameters of a command that works in the cloud or, with a ``backend``, of a stage."""

    params: dict[str, Any] = field(default_factory=dict)
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A named node of the lineage, produced by ``stage``, for which a backend must be installed.

    ``type`` is a free name by which gates, reports and documents identify the model's kind.
    ``parents`` are models; the first one is the parent in the lineage. ``post_stages`` overrides the lineage's
    for this model, stage by stage; null leaves a stage out.
    """

    version: str
    type: str
    stage: str
    backend: str
    parents: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    executor: str | Executor | None = field(default=None, metadata=_EXECUTOR)
    post_stages: dict[str, StageSettings | None] = field(default_factory=dict, metadata=_POST_STAGES)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Models, and the stages ``post_stages`` that every finished model passes through, in this order.

    ``objective`` is ``<model>.<metric>``, the figure that a run returns to a sweep. ``gates`` are the bounds that a
    model's figures must meet for approval in a registry.
    """

    name: str
    models: dict[str, Model]
    post_stages: dict[str, StageSettings | None] = field(default_factory=dict, metadata=_POST_STAGES)
    objective: str | None = None
    gates: dict[str, Gate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """Project that the lineage belongs to. ``id`` is assigned by an external service, such as the cloud.

    A single number as ``budget_usd`` is the budget of a run, in US dollars.
    """

    name: str
    description: str = ""
    version: str = "1.0.0"
    id: str | None = None
    budget_usd: float | Budget | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Target hardware: the backends that compile for it and measure on it.

    ``profile`` measures how a compiled model spends its time, ``package`` builds an archive for a small device,
    ``bundle`` one for the cloud; without ``profile`` or ``package`` the stage is skipped.
    """

    name: str
    compile: StageSettings
    benchmark: StageSettings
    profile: StageSettings | None = None
    package: StageSettings | None = None
    bundle: StageSettings | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Storage of records and files: a local folder, and a shared bucket if ``remote`` names one.

    ``root`` is this machine's folder; with a ``remote``, ``s3://bucket/prefix``, it is the working copy. ``endpoint``
    is an S3 server other than AWS's. ``encryption`` is requested for every object; null uses the server's default.
    """

    root: str
    remote: str | None = None
    endpoint: str | None = None
    region: str | None = None
    encryption: Literal["AES256", "aws:kms"] | None = "AES256"
    kms_key: str | None = None
    connections: int = 16


@dataclass(frozen=True, slots=True)
class Source:
    """Content of a path in the published tree: a file of a task, a document about it, or a link to it.

    ``stage`` is the task's; a model's defaults to the one that produces it. ``file`` may be a pattern if the path ends
    in ``/``. ``document`` is built from records; ``link`` is a small file with the location of the task's files.
    Without these three the stage itself writes to the path. ``backend`` selects only results of this backend.
    """

    stage: str | None = None
    file: str | None = None
    document: str | None = None
    link: str | None = None
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of published files below ``root``, in which ``{model}`` and ``{version}`` are replaced.

    ``models`` maps each model to its paths; ``"*"`` applies to every model without an entry of its own.
    """

    root: str
    project: dict[str, Source] = field(default_factory=dict)
    models: dict[str, dict[str, Source]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    ``data`` and ``tracking`` hold a backend's name and, as further keys, the parameters of that backend. ``model``
    holds values that other groups refer to, and ``registry`` the settings of the stage ``register``.
    ``cloud`` holds, by name, the parameters of commands that work in the cloud and of stages that write to it.
    """

    project: Project
    lineage: Lineage
    model: dict[str, Any]
    data: dict[str, Any]
    target: Target | None
    store: Store
    layout: Layout
    executor: Executor = field(metadata=_EXECUTOR)
    tracking: dict[str, Any]
    registry: dict[str, Any] = field(default_factory=dict)
    cloud: dict[str, CloudSettings | None] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    stages: tuple[str, ...] | None = None
    force: tuple[str, ...] = ()
    publish: bool = False


GROUPS: Mapping[str, type] = {
    "project": Project,
    "lineage": Lineage,
    "target": Target,
    "store": Store,
    "layout": Layout,
    "executor": Executor,
}
"""Groups whose whole schema is defined here; the others are typed by the plugins."""
