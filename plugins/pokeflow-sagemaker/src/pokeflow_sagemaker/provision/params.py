"""Parameters of ``pokeflow provision``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow_sagemaker.machines import is_role
from pokeflow_sagemaker.provision.names import ROLES

GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_POLICY = re.compile(r"arn:[a-z-]+:iam::(\d{12}|aws):policy/[\w+=,.@/-]+")


@dataclass(frozen=True, slots=True)
class ProvisionParams:
    """Parameters of ``pokeflow provision``; bucket, region and encryption are those of the store.

    Attributes:
        project: Name of the project.
        group: Model package group; None: ``<project>-models``.
        tree: Path of the project's tree below the store.
        description: Description of the SageMaker Project.
        roles: ARNs of existing roles by kind (job, pipeline, launcher, edge, template); these are not created.
        boundary: ARN of the permissions boundary of the roles, if the account requires one.
        old_version_days: Days for which overwritten or deleted objects in the bucket can be restored.
        network: Whether jobs may run in a VPC of the account.

    """

    project: str
    group: str | None
    tree: str
    description: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    boundary: str | None = None
    old_version_days: int = 90
    network: bool = False


def check(params: ProvisionParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that type checks cannot find, as (parameter name, message) pairs."""
    if not params.project.strip():
        yield "project", "is empty. Set project.name"
    if params.group is not None and not GROUP.fullmatch(params.group):
        yield (
            "group",
            f"{params.group!r} is not a valid name of a model package group: at most 63 letters, digits and '-'",
        )
    if params.old_version_days < 1:
        yield "old_version_days", f"{params.old_version_days} is below 1"
    for kind, arn in params.roles.items():
        if kind not in ROLES:
            yield f"roles.{kind}", f"unknown role. Known: {', '.join(ROLES)}"
        elif not is_role(arn):
            yield f"roles.{kind}", f"{arn!r} is not the ARN of an IAM role"
    if params.boundary is not None and not _POLICY.fullmatch(params.boundary):
        yield "boundary", f"{params.boundary!r} is not the ARN of an IAM policy"
