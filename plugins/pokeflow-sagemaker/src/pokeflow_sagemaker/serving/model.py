"""A model of SageMaker's, from a package of its registry or a bundle in the bucket."""

import hashlib
import json
import logging
import re
from typing import Any, Literal

from pokeflow import ConfigError, Fault, PokeflowError, Shared
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images, waiting
from pokeflow_sagemaker.machines import Account, Network
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.provision.names import Place
from pokeflow_sagemaker.serving.bundles import Bundle

log = logging.getLogger("pokeflow")
LONGEST, HASH = 63, 16
_SENTENCES = {
    "Rejected": "Its gates, or a person, said no.",
    "PendingManualApproval": "Nobody has decided on it yet.",
}

Source = Literal["auto", "package", "bundle"]


def where(shared: Shared | None, account: Account) -> Place:
    """Return the account and region that a model of the store is to run in."""
    if shared is None:
        message = "what AWS runs it reads from a bucket, and this store has none. Choose store=s3."
        raise ConfigError([Fault("store.remote", message)])
    return names.here(aws.region(account.region or shared.region))


def base(project: str, name: str) -> str:
    """Return what all names of a model begin with, its endpoint's above all: project and model."""
    return fit_name(f"{names.slug(project)}-{name}", LONGEST - HASH - 1)


def fit_name(text: str, most: int) -> str:
    """Turn a text into one of AWS's names: letters, digits and single ``-``, at most so long, the rest as a hash."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    if name == text and len(name) <= most:
        return name
    return f"{name[: most - 7].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def name_by_content(base: str, content: Any) -> str:
    """Return a name that begins with another one and ends in a hash of content: the same content, the same name."""
    text = json.dumps(content, sort_keys=True)
    return f"{base}-{hashlib.sha256(text.encode()).hexdigest()[:HASH]}"


def tags(bundle: Bundle, account: Account) -> list[dict[str, str]]:
    """The tags of what serves a bundle."""
    record = bundle.record
    return names.tags(account.project, model=record.model, version=record.version, run=record.digest)


def ensure(bundle: Bundle, at: Place, account: Account, network: Network | None, image: str, source: Source) -> str:
    """Create the SageMaker model that runs a bundle, unless it is there, and return its name."""
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
        given = {"ModelName": name, **request, "Tags": tags(bundle, account)}
        try:
            aws.ask(sagemaker.create_model, f"model {name}", **given)
        except aws.AlreadyExistsError:
            log.debug("model %s was made by another at this moment", name)
    return name


def _container(bundle: Bundle, at: Place, image: str, source: Source) -> dict[str, Any]:
    arn = bundle.registration.facts.get("model_package_arn") if bundle.registration else None
    if arn and source != "bundle" and _deployable(str(arn), at, source):
        return {"ModelPackageName": str(arn)}
    if source == "package":
        raise PokeflowError(
            f"{bundle.record.task}: it is not registered with SageMaker. Choose registry=sagemaker and run "
            "'pokeflow' first, or deploy the bundle as it is: cloud.deploy.params.source=bundle."
        )
    return {"Image": images.address(image, at.region), "ModelDataUrl": bundle.uri}


def _deployable(arn: str, at: Place, source: Source) -> bool:
    """Tell whether a package may be deployed; PokeflowError where it is there and may not."""
    what = f"model package {arn.rpartition('model-package/')[2]}"
    if f":{at.region}:{at.account}:" not in arn:
        log.warning("%s is in another region or account: the bundle is taken as it is", what)
        return False
    sagemaker = aws.client("sagemaker", at.region)

    def look() -> dict[str, Any] | None:
        try:
            row: dict[str, Any] = aws.ask(sagemaker.describe_model_package, what, ModelPackageName=arn)
        except aws.NotFoundError:
            if source == "package":
                raise
            return None
        return row

    found = waiting.until_settled(look, "ModelPackageStatus", ("Pending", "InProgress"), what)
    if found is None:
        log.warning("%s is not there any more: the bundle is taken as it is", what)
        return False
    approval = str(found.get("ModelApprovalStatus", "Approved"))
    if approval == "Approved":
        return True
    said = str(found.get("ApprovalDescription") or "")
    why = " ".join(filter(None, (_SENTENCES.get(approval, ""), said)))
    raise PokeflowError(
        f"{what}: it is {approval}, and only what is approved is deployed. {why} Approve it in the registry, or "
        "deploy the bundle as it is: cloud.deploy.params.source=bundle."
    )
