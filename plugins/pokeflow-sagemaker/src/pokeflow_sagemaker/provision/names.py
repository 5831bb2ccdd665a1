"""How what a project has on AWS is called: always the same, and within AWS's limits."""

import hashlib
import re
from dataclasses import dataclass

ROLES = ("job", "pipeline", "launcher", "edge", "template")
"""Who works in a project, a role each: ``<project>-job`` …"""
TAG = "pokeflow:project"
"""The tag on everything that is a project's: costs are told apart by it, and what is not pokeflow's is left alone."""
_FITS = re.compile(r"[a-z0-9](-*[a-z0-9]){0,31}")
_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
}
"""Regions where AWS publishes its images from another account than everywhere else."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where AWS is spoken to, and for whom: the account's number, the region, the partition (``aws``, ``aws-cn``)."""

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


def slug(project: str) -> str:
def group(project: str) -> str:
    """The name of the group that takes a project's models."""
    return f"{slug(project)}-models"


    """A project's name as AWS's names have it: at most 32 of a-z, 0-9 and single '-'; what is lost becomes a hash."""
    if _FITS.fullmatch(project):
        return project
    plain = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")
    if plain == project.lower() and len(plain) <= 32:
        return plain
    return f"{plain[:25]}-{hashlib.sha256(project.encode()).hexdigest()[:6]}".strip("-")


def role(project: str, kind: str) -> str:
    """The name of a project's role of one of the kinds in ``ROLES``."""
    return f"{slug(project)}-{kind}"


def stack(project: str) -> str:
    """The name of the stack that a project stands on."""
    return f"pokeflow-{slug(project)}"


def image_account(region: str) -> str:
    """The account that AWS publishes its deep-learning images from in a region."""
    return _ACCOUNTS.get(region, "763104351884")
