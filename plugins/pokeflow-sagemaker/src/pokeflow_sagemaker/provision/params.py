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
    """The project, the group of its models (None: ``<project>-models``), and where below the store its tree lies.

    ``roles`` are ARNs of roles that are there already, by kind (job, pipeline, launcher, edge, template): these are not
    made. ``boundary`` is the policy that bounds roles, where the account demands one. ``old_version_days``: how long
    what was overwritten or deleted in the bucket can be brought back. ``network``: jobs may run in a network of the
    account's.

    Bucket, region and encryption are the store's.
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
    """Find what is wrong with parameters that types cannot show."""
    if not params.project.strip():
        yield "project", "is empty"
    if params.group is not None and not GROUP.fullmatch(params.group):
        yield "group", f"{params.group!r} is no name of a model package group: at most 63 letters, digits and '-'"
    if params.old_version_days < 1:
        yield "old_version_days", f"{params.old_version_days} is below 1"
    for kind, arn in params.roles.items():
        if kind not in ROLES:
            yield f"roles.{kind}", f"no such role. Known: {', '.join(ROLES)}"
        elif not is_role(arn):
            yield f"roles.{kind}", f"{arn!r} is no ARN of a role"
    if params.boundary is not None and not _POLICY.fullmatch(params.boundary):
        yield "boundary", f"{params.boundary!r} is no ARN of a policy"
