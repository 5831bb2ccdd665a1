"""Model packages in a group: found by key, created once, and updated without overriding people's decisions."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker.aws import AlreadyExistsError, NotFoundError, RefusedError, ask, pages, waiting
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.registry import card
from pokeflow_sagemaker.registry.about import (
    JUDGED,
    MAX_PROPERTIES,
    PENDING,
    Registration,
    encode_json,
    marker,
    printable,
    properties,
    sentence,
)

log = logging.getLogger(__name__)

GATES = "pokeflow gates: "
"""Prefix of the approval description that pokeflow sets from the gates; any other description is a person's."""
CARD = 100_000
"""Largest model card in characters."""
TIMEOUT = 300.0
"""Timeout in seconds for SageMaker's check of a new model package."""


@dataclass(frozen=True, slots=True)
class Package:
    """A registered model package: its ARN, the version number from SageMaker, and its current approval status."""

    arn: str
    number: int
    approval: str


def ensure_group(client: Any, name: str, project: str) -> None:
    """Create the model package group unless it exists; an existing group is used unchanged."""
    resource = f"model package group {name}"
    try:
        ask(client.describe_model_package_group, resource, ModelPackageGroupName=name)
    except NotFoundError:
        try:
            ask(
                client.create_model_package_group,
                resource,
                ModelPackageGroupName=name,
                ModelPackageGroupDescription=f"The models of {printable(project, 200)}, registered by pokeflow.",
                Tags=names.tags(project),
            )
        except AlreadyExistsError:
            log.debug("%s was created by another process at the same time", resource)


def settle(client: Any, registration: Registration, artifact: str, extra: Mapping[str, Any]) -> Package:
    """Create or update the single model package of this model, version label and content.

    Args:
        client: Client of SageMaker.
        registration: The model.
        artifact: ARN of its lineage artifact.
        extra: Parts of the request that can be set at creation only.

    Raises:
        PokeflowError: If SageMaker's check of the package fails.

    """
    package, failed = _find(client, registration)
    if package is None:
        package = _wait_until_checked(client, registration, _create(client, registration, artifact, extra, failed))
    approval = _bring_up_to_date(client, package, registration, artifact)
    return Package(str(package["ModelPackageArn"]), int(package["ModelPackageVersion"]), approval)


def _label(registration: Registration) -> str:
    return f"model package of {registration.model} {registration.version} in {registration.group}"


def _find(client: Any, registration: Registration) -> tuple[dict[str, Any] | None, int]:
    """Return the model package with this key, or None, and the number of failed packages with it.

    A listing contains no properties. The key is therefore also in the description, which cannot be changed, so that
    only candidates are described. The description of a package from a pipeline contains the task's digest instead;
    its key is set later, with the other properties.
    """
    failed = 0
    listing = {
        "ModelPackageGroupName": registration.group,
        "SortBy": "CreationTime",
        "SortOrder": "Ascending",
        "MaxResults": 100,
    }
    for row in pages(client, "list_model_packages", "ModelPackageSummaryList", _label(registration), **listing):
        description = row.get("ModelPackageDescription", "")
        by_pipeline = f"run:{registration.run}" in description
        if marker(registration.key) not in description and not by_pipeline:
            continue
        if row["ModelPackageStatus"] == "Failed":
            failed += 1
            continue
        package = _wait_until_checked(client, registration, row["ModelPackageArn"])
        metadata = package.get("CustomerMetadataProperties", {})
        if metadata.get("pokeflow-key") == registration.key:
            return package, failed
        if by_pipeline and "pokeflow-key" not in metadata and _bundle_uri(package) == registration.uri:
            return package, failed
    return None, failed


def _bundle_uri(package: Mapping[str, Any]) -> str:
    """Return the URI of the bundle that a model package serves."""
    containers = package.get("InferenceSpecification", {}).get("Containers") or [{}]
    return str(containers[0].get("ModelDataUrl", ""))


def _create(client: Any, registration: Registration, artifact: str, extra: Mapping[str, Any], failed: int) -> str:
    approval = registration.approval or PENDING
    # Reusing the token of a failed package would return that package again.
    token = hashlib.sha256(f"{registration.key} {failed}".encode()).hexdigest()[:32] if failed else registration.key
    request = {
        "ModelPackageGroupName": registration.group,
        "ModelPackageDescription": sentence(registration),
        "ModelApprovalStatus": approval,
        "ModelCard": {"ModelCardContent": encode_json(card.build(registration)), "ModelCardStatus": "Draft"},
        "CustomerMetadataProperties": properties(registration, artifact, approval),
        "ClientToken": token,
        **extra,
    }
    try:
        return str(ask(client.create_model_package, _label(registration), **request)["ModelPackageArn"])
    except RefusedError as error:
        if not isinstance(error, AlreadyExistsError) and error.code != "ValidationException":
            raise
        # Another machine may have used the token at the same time, with figures of a later benchmark.
        existing, _ = _find(client, registration)
        if existing is None:
            raise
        return str(existing["ModelPackageArn"])


def _wait_until_checked(client: Any, registration: Registration, arn: str) -> dict[str, Any]:
    """Wait for SageMaker's check of a model package and return its description.

    Raises:
        PokeflowError: If the check failed.

    """

    def look() -> dict[str, Any]:
        response: dict[str, Any] = ask(client.describe_model_package, _label(registration), ModelPackageName=arn)
        return response

    package = waiting.until_settled(
        look, "ModelPackageStatus", ("Pending", "InProgress"), _label(registration), TIMEOUT
    )
    assert package
    if package["ModelPackageStatus"] == "Failed":
        details = package.get("ModelPackageStatusDetails", {})
        rows = [*details.get("ValidationStatuses", ()), *details.get("ImageScanStatuses", ())]
        reasons = "; ".join(str(row["FailureReason"]) for row in rows if row.get("FailureReason"))
        raise PokeflowError(
            f"{_label(registration)}: SageMaker's check of it failed ({reasons or 'no reason reported'}). "
            "Run the same command again to register a new version."
        )
    return dict(package)


def _bring_up_to_date(client: Any, package: Mapping[str, Any], registration: Registration, artifact: str) -> str:
    """Update what differs, in at most one request, and return the resulting approval status."""
    existing: dict[str, str] = package.get("CustomerMetadataProperties", {})
    approval, last_approval = str(package["ModelApprovalStatus"]), existing.get("pokeflow-approval", "")
    new_approval = _approval(package, registration, last_approval)
    generated = properties(registration, artifact, last_approval if new_approval == approval else new_approval)
    obsolete = [name for name in existing if name.startswith(JUDGED) and name not in generated]
    remaining = {name: value for name, value in existing.items() if name not in obsolete}
    # The request contains all properties, so it is right whether AWS merges or replaces; people's own take precedence.
    merged = {
        **remaining,
        **dict(
            [(n, v) for n, v in generated.items() if n in remaining or len(remaining) < MAX_PROPERTIES][:MAX_PROPERTIES]
        ),
    }
    changes: dict[str, Any] = {}
    if merged != existing:
        changes["CustomerMetadataProperties"] = merged
    if obsolete:
        changes["CustomerMetadataPropertiesToRemove"] = obsolete
    if text := _card(package, registration):
        changes["ModelCard"] = {"ModelCardContent": text}
    if new_approval != approval:
        verdicts = "; ".join(f"{name} {verdict}" for name, verdict in registration.verdicts.items())
        changes |= {"ModelApprovalStatus": new_approval, "ApprovalDescription": f"{GATES}{printable(verdicts, 900)}"}
    if changes:
        ask(client.update_model_package, _label(registration), ModelPackageArn=package["ModelPackageArn"], **changes)
    return new_approval


def _approval(package: Mapping[str, Any], registration: Registration, last_approval: str) -> str:
    """Return the approval status to set: that of the gates, or the current one if a person decided or without gates.

    Args:
        package: Description of the model package.
        registration: The model.
        last_approval: Status that pokeflow set last. A person has decided if the current status differs from it, or if
            its description does not begin with ``GATES``.

    """
    current, reason = str(package["ModelApprovalStatus"]), str(package.get("ApprovalDescription") or "")
    if registration.approval is None or registration.approval == current:
        return current
    if current != last_approval or (reason and not reason.startswith(GATES)):
        log.warning(
            "%s: the gates give %s; it stays %s, which a person set (%s)",
            _label(registration),
            registration.approval,
            current,
            reason or "no reason given",
        )
        return current
    return registration.approval


def _card(package: Mapping[str, Any], registration: Registration) -> str | None:
    """Return the card's new text; None if it is unchanged, too long, or reviewed and therefore not to be changed."""
    existing = package.get("ModelCard") or {}
    if existing.get("ModelCardStatus", "Draft") not in card.OPEN:
        return None
    try:
        before = json.loads(existing.get("ModelCardContent") or "{}")
    except (ValueError, RecursionError):
        before = {}
    before = before if isinstance(before, dict) else {}
    after = card.merge(before, card.build(registration))
    text = encode_json(after)
    if after == before:
        return None
    if len(text) > CARD:
        log.warning(
            "%s: the model card with people's edits has %d characters, %d above the limit; shorten it. It is unchanged",
            _label(registration),
            len(text),
            len(text) - CARD,
        )
        return None
    return text
