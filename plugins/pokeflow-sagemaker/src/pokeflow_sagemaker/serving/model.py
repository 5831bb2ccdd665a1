"""SageMaker model of a bundle, from a model package in the registry or from the archive in the bucket."""

import hashlib
import json
import logging
import re
from typing import Any, Literal

from pokeflow import ConfigError, Fault, PokeflowError, RemoteStore
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images, waiting
from pokeflow_sagemaker.machines import Account, VpcConfig
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.provision.names import AccountRegion
from pokeflow_sagemaker.serving.bundles import Bundle

log = logging.getLogger("pokeflow")
MAX_NAME_LENGTH, HASH_LENGTH = 63, 16
_SENTENCES = {
    "Rejected": "Its gates failed, or a person rejected it.",
    "PendingManualApproval": "It awaits a decision.",
}

Source = Literal["auto", "package", "bundle"]


def account_region(remote_store: RemoteStore | None, account: Account) -> AccountRegion:
    """Return the account and region to run a model of the store in; raise a ConfigError if the store has no bucket."""
    if remote_store is None:
        message = "AWS reads bundles from a bucket, and this store has none. Set store=s3."
        raise ConfigError([Fault("store.remote", message)])
    return names.here(aws.region(account.region or remote_store.region))


def base(project: str, name: str) -> str:
    """Return the common prefix of the names of a model's resources: project and model; it is the endpoint's name."""
    return fit_name(f"{names.slug(project)}-{name}", MAX_NAME_LENGTH - HASH_LENGTH - 1)


def fit_name(text: str, max_length: int) -> str:
    """Convert text to a valid AWS name of at most ``max_length`` letters, digits and single ``-``.

    A name that had to be changed or cut ends in a hash of the text, so that different texts keep different names.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    if name == text and len(name) <= max_length:
        return name
    return f"{name[: max_length - 7].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def name_by_content(base: str, content: Any) -> str:
    """Return ``base`` with a hash of content as suffix, so that equal content leads to the same name."""
    text = json.dumps(content, sort_keys=True)
    return f"{base}-{hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]}"


def tags(bundle: Bundle, account: Account) -> list[dict[str, str]]:
    """Return the tags of the resources that serve a bundle."""
    record = bundle.record
    return names.tags(account.project, model=record.model, version=record.version, run=record.digest)


def ensure(
    bundle: Bundle, at: AccountRegion, account: Account, network: VpcConfig | None, image: str, source: Source
) -> str:
    """Create the SageMaker model that runs a bundle, unless it exists, and return its name.

    Args:
        bundle: The bundle to run.
        at: Account and region.
        account: Project and execution role.
        network: VPC of the containers; None: none.
        image: URI of the container image, for a model that is created from the bundle itself.
        source: Registered package or bundle.

    Raises:
        PokeflowError: If ``source`` requires a package and there is none, or the package is not approved.

    """
    sagemaker = aws.client("sagemaker", at.region)
    request: dict[str, Any] = {
        "ExecutionRoleArn": account.role or at.role(names.role(account.project, "job")),
        "PrimaryContainer": _container(bundle, at, image, source),
    }
    if network:
        groups, subnets = list(network.security_groups), list(network.subnets)
        request["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": subnets}
    name = name_by_content(base(account.project, bundle.record.model), request)
    try:
        aws.ask(sagemaker.describe_model, f"model {name}", ModelName=name)
    except aws.NotFoundError:
        full_request = {"ModelName": name, **request, "Tags": tags(bundle, account)}
        try:
            aws.ask(sagemaker.create_model, f"model {name}", **full_request)
        except aws.AlreadyExistsError:
            log.debug("model %s was created by another process at the same time", name)
    return name


def _container(bundle: Bundle, at: AccountRegion, image: str, source: Source) -> dict[str, Any]:
    arn = bundle.registration.facts.get("model_package_arn") if bundle.registration else None
    if arn and source != "bundle" and _deployable(str(arn), at, source):
        return {"ModelPackageName": str(arn)}
    if source == "package":
        raise PokeflowError(
            f"{bundle.record.task}: not registered with SageMaker. Set registry=sagemaker and run "
            "'pokeflow' first, or deploy the bundle itself: cloud.deploy.params.source=bundle."
        )
    return {"Image": images.address(image, at.region), "ModelDataUrl": bundle.uri}


def _deployable(arn: str, at: AccountRegion, source: Source) -> bool:
    """Return whether a model package can be deployed; False: use the bundle instead.

    Raises:
        PokeflowError: If the package exists and is not approved.

    """
    resource = f"model package {arn.rpartition('model-package/')[2]}"
    if f":{at.region}:{at.account}:" not in arn:
        log.warning("%s is in another region or account: using the bundle itself", resource)
        return False
    sagemaker = aws.client("sagemaker", at.region)

    def look() -> dict[str, Any] | None:
        try:
            row: dict[str, Any] = aws.ask(sagemaker.describe_model_package, resource, ModelPackageName=arn)
        except aws.NotFoundError:
            if source == "package":
                raise
            return None
        return row

    description = waiting.until_settled(look, "ModelPackageStatus", ("Pending", "InProgress"), resource)
    if description is None:
        log.warning("%s no longer exists: using the bundle itself", resource)
        return False
    approval = str(description.get("ModelApprovalStatus", "Approved"))
    if approval == "Approved":
        return True
    reason = str(description.get("ApprovalDescription") or "")
    why = " ".join(filter(None, (_SENTENCES.get(approval, ""), reason)))
    raise PokeflowError(
        f"{resource}: its status is {approval}, and only approved packages are deployed. {why} Approve it in the "
        "registry, or deploy the bundle itself: cloud.deploy.params.source=bundle."
    )
