"""Names of what a project has on AWS: always the same, and within AWS's limits."""

import hashlib
import re
from dataclasses import dataclass

from pokeflow_sagemaker import aws

ROLES = ("job", "pipeline", "launcher", "edge", "template")
"""Who works in a project, a role each: ``<project>-job`` …"""
TAG = "pokeflow:project"
"""The tag on everything that is a project's: costs are told apart by it, and what is not pokeflow's is left alone."""
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]")
_FITS = re.compile(r"[a-z0-9](-*[a-z0-9]){0,31}")


@dataclass(frozen=True, slots=True)
class Place:
    """An account and region of AWS: the account's number, the region, the partition (``aws``, ``aws-cn``)."""

    account: str
    region: str
    partition: str = "aws"

    @property
    def suffix(self) -> str:
        """The end of AWS's host names there."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in this region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def role(self, name: str) -> str:
        """The ARN of a role."""
        return f"arn:{self.partition}:iam::{self.account}:role/{name}"


def here(region: str) -> Place:
    """Return the credentials' own account in a region."""
    return Place(aws.account(region), region, aws.partition(region))


def slug(project: str) -> str:
    """A project's name as AWS's names have it: at most 32 of a-z, 0-9 and single '-'; what is lost becomes a hash."""
    if _FITS.fullmatch(project):
        return project
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")
    if plain == project.lower() and len(plain) <= 32:
        return plain
    return f"{plain[:25]}-{hashlib.sha256(project.encode()).hexdigest()[:6]}".strip("-")


def tags(project: str, **of: str) -> list[dict[str, str]]:
    """The tags of what is a project's, and which model's, version's … it is: what Cost Explorer sums by."""
    values = {"project": slug(project), **of}
    legal = {name: _NOT_IN_TAGS.sub("-", value)[:256] for name, value in values.items()}
    return [{"Key": f"pokeflow:{name}", "Value": value} for name, value in legal.items() if value]


def role(project: str, kind: str) -> str:
    """The name of a project's role of one of the kinds in ``ROLES``."""
    return f"{slug(project)}-{kind}"


def group(project: str) -> str:
    """The name of the group that takes a project's models."""
    return f"{slug(project)}-models"


def stack(project: str) -> str:
    """The name of the stack that a project stands on."""
    return f"pokeflow-{slug(project)}"
