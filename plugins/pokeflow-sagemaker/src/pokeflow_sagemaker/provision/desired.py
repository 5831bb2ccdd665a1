"""The desired state of a project on AWS, from the configuration; AWS is asked for the account alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import ConfigError, Fault, Shared
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images
from pokeflow_sagemaker.provision import names, templates
from pokeflow_sagemaker.provision.names import TAG, Place
from pokeflow_sagemaker.provision.params import ProvisionParams

PARAMETERS = {kind: f"{kind.title()}Role" for kind in names.ROLES}
"""The template's parameter for each role."""
_KEY_ID = re.compile(r"[0-9a-f-]{36}|mrk-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A project's place, names and settings.

    ``name`` is the SageMaker Project's, ``project`` what all other names begin with. ``prefix`` and ``tree`` end with
    a slash or are empty. ``key`` is ``own``, an ARN, or empty: no key of KMS's.
    """

    place: Place
    name: str
    project: str
    bucket: str
    prefix: str
    key: str
    params: ProvisionParams

    @property
    def region(self) -> str:
        """Where all of it is."""
        return self.place.region

    @property
    def stack(self) -> str:
        """The name of the stack that it stands on."""
        return names.stack(self.name)

    @property
    def group(self) -> str:
        """The name of the group of its models."""
        return self.params.group or names.group(self.name)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that is made."""
        return {TAG: self.project}

    def foundation(self, make_bucket: bool, roles: Mapping[str, str]) -> dict[str, str]:
        """The parameters of the foundation's template; ``roles`` are ARNs of those that are there, by kind."""
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
        """The parameters of the project's template."""
        return {"ProjectName": self.project, "GroupName": self.group, "MakeGroup": str(make_group).lower()}

    def resources(self, roles: Mapping[str, str], key_arn: str = "") -> dict[str, Any]:
        """Return what the foundation's template makes, the bucket as well, whoever made it."""
        known = {"OwnKey.Arn": key_arn} if key_arn else {}
        return templates.resources_of("foundation", self.foundation(True, roles), self.place, known)


def desired_state(params: ProvisionParams, shared: Shared | None) -> DesiredState:
    """Return the state that parameters and store ask for; ConfigError where there is no bucket to begin with."""
    if shared is None:
        message = "no bucket is named, and a project begins with one: store=s3 store.remote=s3://bucket."
        raise ConfigError([Fault("store.remote", message)])
    if shared.endpoint is not None:
        raise ConfigError([Fault("store.endpoint", "another server than AWS's keeps no project. Leave it out.")])
    bucket, _, prefix = shared.uri.removeprefix("s3://").strip("/").partition("/")
    faults = [
        Fault(name, f"{text!r} holds '*', '?' or '$': in a policy they stand for more than themselves. Leave them out.")
        for name, text in (("store.remote", prefix), ("layout.root", params.tree))
        if set(text) & set("*?$")
    ]
    if faults:
        raise ConfigError(faults)
    region = aws.region(shared.region)
    place = names.here(region)
    key = _key(place, shared.encryption, shared.kms_key)
    name = params.project if re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", params.project) else None
    project = names.slug(params.project)
    return DesiredState(place, name or project, project, bucket, f"{prefix}/" if prefix else "", key, params)


def _key(place: Place, encryption: str | None, key: str | None) -> str:
    """AES256 needs none; a key that is named is used; otherwise the project gets its own."""
    if encryption == "AES256":
        return ""
    if key is None:
        return "own"
    if _KEY_ID.fullmatch(key):
        return place.arn("kms", f"key/{key}")
    if not re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/.+", key):
        message = f"{key!r} is no key's ARN or id, which policies need (an alias does not do)."
        raise ConfigError([Fault("store.kms_key", message)])
    return key
