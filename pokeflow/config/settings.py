"""The shape of the configuration: one dataclass a group. What is written nowhere here is refused in YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pokeflow.gates import Gate
from pokeflow.types import Budget

FORMER_KEYS = {"on": "executor"}
"""What a key was called before, and is called now."""
_EXECUTOR = {"formerly": {"on": "on", True: "on", "True": "on"}}  # YAML 1.1 reads the old key as true


@dataclass(frozen=True, slots=True)
class Executor:
    """Where tasks run that name no other executor; or, where one does, that one with parameters on top of these."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """A backend and its parameters, and the executor that runs it: the chosen one if none is given.

    Without a backend there is nothing to do. What is ``optional`` is left out where no installed plugin does the stage.
    """

    backend: str | None
    params: dict[str, Any] = field(default_factory=dict)
    executor: str | Executor | None = field(default=None, metadata=_EXECUTOR)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CloudWork:
    """The parameters of a command that works in the cloud; with a ``backend`` it is the work of a stage."""

    params: dict[str, Any] = field(default_factory=dict)
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A named node of the lineage, and how it is made: ``stage`` is one that an installed backend does.

    ``type`` is a free name that gates, reports and documents know the model's kind by.
    ``parents`` are models; the first one is the parent in the lineage. ``then`` overrides the lineage's ``then`` for
    this model, stage by stage; null leaves a stage out.
    """

    version: str
    type: str
    stage: str
    backend: str
    parents: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    executor: str | Executor | None = field(default=None, metadata=_EXECUTOR)
    then: dict[str, Work | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The models, and the stages that every finished model goes through, in this order.

    ``objective`` is ``<model>.<metric>``: what a run returns to a sweep. ``gates`` are what a model's figures must
    reach to be approved in a registry.
    """

    name: str
    models: dict[str, Model]
    then: dict[str, Work | None] = field(default_factory=dict)
    objective: str | None = None
    gates: dict[str, Gate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """What all of this belongs to. ``id`` is given by whoever keeps projects, such as the cloud.

    ``budget_usd`` as one number is that of a run.
    """

    name: str
    description: str = ""
    version: str = "1.0.0"
    id: str | None = None
    budget_usd: float | Budget | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A piece of hardware: the backends that compile for it and measure on it.

    ``profile`` tells where a compiled model's time goes, ``package`` makes an archive for a small device, ``bundle``
    one for the cloud; without a ``profile`` or a ``package`` the stage is left out.
    """

    name: str
    compile: Work
    benchmark: Work
    profile: Work | None = None
    package: Work | None = None
    bundle: Work | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Where records and files live: a local folder, and a bucket that others share, if ``remote`` names one.

    ``root`` is this machine's folder; with a ``remote``, ``s3://bucket/prefix``, it is the working copy. ``endpoint``
    is another S3 server than AWS's; ``encryption`` is asked of the server for every object, null: its own default.
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
    """What belongs at a path of the tree: a file of a task, a document about it, or a link to where it lies.

    ``stage`` is the task's; for a model, the stage that makes it if none is given. ``file`` may be a pattern, for a
    path that ends in ``/``. ``document`` is written from records. ``link`` is a small file that says where the
    task's files are. ``backend``: only of results by this one. Where a source has neither, its stage writes there.
    """

    stage: str | None = None
    file: str | None = None
    document: str | None = None
    link: str | None = None
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each published file belongs: paths below ``root``, in which ``{model}`` and ``{version}`` are replaced.

    ``models`` has the paths of each model; ``"*"`` those of every model that has none of its own.
    """

    root: str
    project: dict[str, Source] = field(default_factory=dict)
    models: dict[str, dict[str, Source]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    ``data`` and ``tracking`` are a backend's name and, beside it, that backend's parameters. ``model`` holds
    values that other groups refer to, and ``registry`` the work that the lineage refers to for ``register``.
    ``cloud`` gives the parameters of the commands that work there, and what stages leave there, by name.
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
    cloud: dict[str, CloudWork | None] = field(default_factory=dict)
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
"""The groups whose whole shape is known here; the others are typed by the plugins."""
