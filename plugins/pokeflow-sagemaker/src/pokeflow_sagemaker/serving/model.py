"""What SageMaker runs: a package of its registry or a bundle in the bucket, as one of its models."""

import hashlib
import json
import logging
import re
from typing import Any, Literal

from pokeflow import ConfigError, Fault, Input, PokeflowError, Task
from pokeflow.stages import REGISTER
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images, waiting
from pokeflow_sagemaker.machines import Account, Network
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.provision.names import Place

log = logging.getLogger("pokeflow")
LONGEST, HASH = 63, 16
_SENTENCES = {
    "Rejected": "Its gates, or a person, said no.",
    "PendingManualApproval": "Nobody has decided on it yet.",
}

Source = Literal["auto", "package", "bundle"]


def where(task: Task, account: Account) -> Place:
    """The account and region that a task's model is to run in."""
    if task.shared is None:
        message = "what AWS runs it reads from a bucket, and this store has none. Choose store=s3."
        raise ConfigError([Fault("store.remote", message)])
    return names.here(aws.region(account.region or task.shared.region))


def base(project: str, name: str) -> str:
    """How everything of a model begins to be called, its endpoint above all: project and model."""
    return fitted(f"{names.slug(project)}-{name}", LONGEST - HASH - 1)


def fitted(text: str, most: int) -> str:
    """A name as AWS's are: letters, digits and single ``-``, so long at most; what is lost becomes a hash."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    if name == text and len(name) <= most:
        return name
    return f"{name[: most - 7].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def named_by(base: str, content: Any) -> str:
    """A name that begins with another one and follows from content: the same content, the same name."""
    text = json.dumps(content, sort_keys=True)
    return f"{base}-{hashlib.sha256(text.encode()).hexdigest()[:HASH]}"


def tags(task: Task, account: Account) -> list[dict[str, str]]:
    """The tags of what serves a task's model."""
    return names.tags(account.project, model=task.model, version=task.version, run=task.digest)


def ensure(task: Task, at: Place, account: Account, network: Network | None, image: str, source: Source) -> str:
    """The name of the SageMaker model that runs a task's bundle; it is made unless it is there."""
    sagemaker = aws.client("sagemaker", at.region)
    request: dict[str, Any] = {
        "ExecutionRoleArn": account.role or at.role(names.role(account.project, "job")),
        "PrimaryContainer": _container(task, at, image, source),
    }
    if network:
        groups, subnets = list(network.security_groups), list(network.subnets)
        request["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": subnets}
    name = named_by(base(account.project, task.model), request)
    try:
        aws.ask(sagemaker.describe_model, f"model {name}", ModelName=name)
    except aws.Missing:
        given = {"ModelName": name, **request, "Tags": tags(task, account)}
        try:
            aws.ask(sagemaker.create_model, f"model {name}", **given)
        except aws.Exists:
            log.debug("model %s was made by another at this moment", name)
    return name


def _container(task: Task, at: Place, image: str, source: Source) -> dict[str, Any]:
    registration = next((item for item in task.inputs if item.record.stage == REGISTER), None)
    arn = registration.record.facts.get("model_package_arn") if registration else None
    if arn and source != "bundle" and _deployable(registration, str(arn), at, source):
        return {"ModelPackageName": str(arn)}
    if source == "package":
        raise PokeflowError(
            f"{task.inputs[0].record.task}: it is not registered with SageMaker. Choose registry=sagemaker and run "
            "'pokeflow' first, or deploy the bundle as it is: cloud.deploy.params.source=bundle."
        )
    return {"Image": images.address(image, at.region), "ModelDataUrl": uri(task)}


def uri(task: Task) -> str:
    """Where the bundle lies."""
    assert task.shared
    bundle = task.inputs[0].record
    return f"{task.shared.uri}/{bundle.path}/model.tar.gz"


def _deployable(registration: Input | None, arn: str, at: Place, source: Source) -> bool:
    """Whether a package may be deployed; PokeflowError where it is there and may not."""
    what = f"model package {arn.rpartition('model-package/')[2]}"
    if f":{at.region}:{at.account}:" not in arn:
        log.warning("%s is in another region or account: the bundle is taken as it is", what)
        return False
    sagemaker = aws.client("sagemaker", at.region)

    def look() -> dict[str, Any] | None:
        try:
            row: dict[str, Any] = aws.ask(sagemaker.describe_model_package, what, ModelPackageName=arn)
        except aws.Missing:
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
