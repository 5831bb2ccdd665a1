"""Names of a project's resources on AWS: deterministic, and within AWS's limits."""

import hashlib
import re
from dataclasses import dataclass

from pokeflow_sagemaker import aws

ROLES = ("job", "pipeline", "launcher", "edge", "template")
"""Kinds of roles in a project; the roles are named ``<project>-job`` …"""
TAG = "pokeflow:project"
"""Tag on all resources of a project: it separates costs and identifies the project's own resources."""
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]")
_FITS = re.compile(r"[a-z0-9](-*[a-z0-9]){0,31}")


@dataclass(frozen=True, slots=True)
class AccountRegion:
    """An AWS account number with a region and its partition (``aws``, ``aws-cn``)."""

    account: str
    region: str
    partition: str = "aws"

    @property
    def suffix(self) -> str:
        """Suffix of AWS's host names in the partition."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a service's resource in this region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def role(self, name: str) -> str:
        """Return the ARN of a role in this account."""
        return f"arn:{self.partition}:iam::{self.account}:role/{name}"


def here(region: str) -> AccountRegion:
    """Return the account of the credentials, with this region."""
    return AccountRegion(aws.account(region), region, aws.partition(region))


def slug(project: str) -> str:
    """Convert a project's name to at most 32 characters of a-z, 0-9 and single '-'; a hash replaces lost characters."""
    if _FITS.fullmatch(project):
        return project
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")
    if plain == project.lower() and len(plain) <= 32:
        return plain
    return f"{plain[:25]}-{hashlib.sha256(project.encode()).hexdigest()[:6]}".strip("-")


def tags(project: str, **of: str) -> list[dict[str, str]]:
    """Return tags for a project's resource and for the keys of ``of`` (model, version …), for use in Cost Explorer."""
    values = {"project": slug(project), **of}
    legal = {name: _NOT_IN_TAGS.sub("-", value)[:256] for name, value in values.items()}
    return [{"Key": f"pokeflow:{name}", "Value": value} for name, value in legal.items() if value]


def role(project: str, kind: str) -> str:
    """Return the name of a project's role of a kind in ``ROLES``."""
    return f"{slug(project)}-{kind}"


def group(project: str) -> str:
    """Return the default name of a project's model package group."""
    return f"{slug(project)}-models"


def stack(project: str) -> str:
    """Return the name of a project's foundation stack."""
    return f"pokeflow-{slug(project)}"
