"""Parameters of the stage ``register``, and their validation before anything runs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow.gates import Gate
from pokeflow.gates import faults as gate_faults
from pokeflow_sagemaker.aws.images import RAY_SERVE

_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_IMAGE = re.compile(r"\S{1,255}")


@dataclass(frozen=True, slots=True)
class RegisterParams:
    """Parameters of the stage ``register``.

    Attributes:
        project: Name of the project; model package group and lineage are tagged with it.
        group: Model package group; None: ``<project>-models``.
        remote: URI of the bucket with the bundle.
        region: AWS region; None: the one in AWS's own settings.
        project_id: Id of the SageMaker project.
        image: Image that serves a bundle; ``{account}`` and ``{region}`` in it are replaced.
        realtime: Instance types offered for endpoints.
        transform: Instance types offered for batch transform jobs.
        description: Purpose of the model, for its card.
        gates: Conditions that decide between Approved and Rejected; without gates a person decides.

    """

    project: str
    group: str | None
    remote: str | None
    region: str | None = None
    project_id: str | None = field(default=None, metadata={"digest": False})
    image: str = RAY_SERVE
    realtime: tuple[str, ...] = ("ml.m5.large", "ml.m5.xlarge", "ml.c5.xlarge")
    transform: tuple[str, ...] = ("ml.m5.large", "ml.m5.xlarge", "ml.c5.xlarge")
    description: str = ""
    gates: dict[str, Gate] = field(default_factory=dict)


def check(params: RegisterParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that type checks cannot find, as (parameter name, message) pairs."""
    if not params.remote:
        yield "remote", "SageMaker reads models from a bucket, and this store has none. Set store=s3."
    elif not params.remote.startswith("s3://"):
        yield "remote", f"{params.remote!r} is not an S3 URI: s3://bucket or s3://bucket/prefix"
    if params.group is not None and not _GROUP.fullmatch(params.group):
        yield "group", f"{params.group!r} is not a valid group name: at most 63 letters, digits and inner '-'"
    if not params.project:
        yield "project", "is empty. Set project.name"
    if not _IMAGE.fullmatch(params.image):
        yield (
            "image",
            f"{params.image!r} is not an image URI: {{account}}.dkr.ecr.{{region}}.amazonaws.com/<name>:<tag>",
        )
    for name in ("realtime", "transform"):
        yield from (
            (name, f"{i!r} is not an instance type, such as ml.m5.large")
            for i in getattr(params, name)
            if i[:3] != "ml."
        )
    if not params.transform:
        yield "transform", "is empty. Set an instance type, such as ml.m5.large"
    yield from ((f"gates.{name}", fault) for name, fault in gate_faults(params.gates))
