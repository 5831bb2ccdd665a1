"""Desired state of a project on AWS, from the configuration; the only request to AWS is for the account."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, Fault, RemoteStore
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images
from pokeflow_sagemaker.provision import names, templates
from pokeflow_sagemaker.provision.names import TAG, AccountRegion
from pokeflow_sagemaker.provision.params import ProvisionParams

PARAMETERS = {kind: f"{kind.title()}Role" for kind in names.ROLES}
"""Name of the template's parameter for each kind of role."""
_KEY_ID = re.compile(r"[0-9a-f-]{36}|mrk-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Desired account, region, names and settings of a project.

    Attributes:
        location: Account and region.
        name: Name of the SageMaker Project.
        project: Prefix of all other names.
        bucket: Name of the bucket.
        prefix: Prefix of the store in the bucket, with a slash at its end, or empty.
        key: ``own``, the ARN of a KMS key, or empty for no KMS key.
        params: The parameters of ``pokeflow provision``.

    """

    location: AccountRegion
    name: str
    project: str
    bucket: str
    prefix: str
    key: str
    params: ProvisionParams

    @property
    def region(self) -> str:
        """AWS region of the project."""
        return self.location.region

    @property
    def stack(self) -> str:
        """Name of the foundation's stack."""
        return names.stack(self.name)

    @property
    def group(self) -> str:
        """Name of the model package group."""
        return self.params.group or names.group(self.name)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of everything that is created."""
        return {TAG: self.project}

    def foundation(self, make_bucket: bool, roles: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters of the foundation's template; ``roles`` are ARNs of existing roles, by kind."""
        return {
            "ProjectName": self.project,
            "BucketName": self.bucket,
            "MakeBucket": str(make_bucket).lower(),
            "Prefix": self.prefix,
            "Tree": f"{self.params.tree.strip('/')}/",
            "GroupName": self.group,
            "Key": self.key,
            "ImageAccount": images.account(self.region),
            "OldVersionDays": str(self.params.old_version_days),
            "Network": str(self.params.network).lower(),
            "Boundary": self.params.boundary or "",
            **{parameter: roles.get(kind, "") for kind, parameter in PARAMETERS.items()},
        }

    def project_parameters(self, make_group: bool) -> dict[str, str]:
        """Return the parameters of the project's template."""
        return {"ProjectName": self.project, "GroupName": self.group, "MakeGroup": str(make_group).lower()}

    def resources(self, roles: Mapping[str, str], key_arn: str = "") -> dict[str, Any]:
        """Return the resources of the foundation's template, always with the bucket, even if it exists already."""
        attributes = {"OwnKey.Arn": key_arn} if key_arn else {}
        return templates.resources_of("foundation", self.foundation(True, roles), self.location, attributes)


def desired_state(params: ProvisionParams, remote_store: RemoteStore | None) -> DesiredState:
    """Return the desired state for parameters and store.

    Raises:
        ConfigError: If the store has no bucket or is not on AWS, or a name or key is not usable in policies.

    """
    if remote_store is None:
        message = "a project needs a bucket. Set store=s3 and store.remote=s3://bucket."
        raise ConfigError([Fault("store.remote", message)])
    if remote_store.endpoint is not None:
        raise ConfigError([Fault("store.endpoint", "a project needs S3 of AWS. Leave out store.endpoint.")])
    bucket, _, prefix = remote_store.uri.removeprefix("s3://").strip("/").partition("/")
    faults = [
        Fault(name, f"{text!r} contains '*', '?' or '$', which are wildcards or variables in policies. Remove them.")
        for name, text in (("store.remote", prefix), ("layout.root", params.tree))
        if set(text) & set("*?$")
    ]
    if faults:
        raise ConfigError(faults)
    region = aws.region(remote_store.region)
    location = names.here(region)
    key = _key(location, remote_store.encryption, remote_store.kms_key)
    name = params.project if re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", params.project) else None
    project = names.slug(params.project)
    return DesiredState(location, name or project, project, bucket, f"{prefix}/" if prefix else "", key, params)


def _key(location: AccountRegion, encryption: str | None, key: str | None) -> str:
    """Return an empty string for AES256, the configured key's ARN, or ``own`` for a key that the stack creates."""
    if encryption == "AES256":
        return ""
    if key is None:
        return "own"
    if _KEY_ID.fullmatch(key):
        return location.arn("kms", f"key/{key}")
    if not re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/.+", key):
        message = f"{key!r} is not the ARN or id of a KMS key. Policies do not accept an alias. Set the key's ARN."
        raise ConfigError([Fault("store.kms_key", message)])
    return key
