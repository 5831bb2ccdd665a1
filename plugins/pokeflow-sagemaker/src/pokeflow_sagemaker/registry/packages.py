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
    PENDING,
    PROPERTIES,
    About,
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
PATIENCE = 300.0
"""Timeout in seconds for SageMaker's check of a new model package."""


@dataclass(frozen=True, slots=True)
class Package:
    """A registered model package: its ARN, the version number from SageMaker, and its current approval status."""

    arn: str
    number: int
    approval: str


def ensure_group(client: Any, name: str, project: str) -> None:
    """Create the model package group unless it exists; an existing group is used unchanged."""
    what = f"model package group {name}"
    try:
        ask(client.describe_model_package_group, what, ModelPackageGroupName=name)
    except NotFoundError:
        try:
            ask(
                client.create_model_package_group,
                what,
                ModelPackageGroupName=name,
                ModelPackageGroupDescription=f"The models of {printable(project, 200)}, registered by pokeflow.",
                Tags=names.tags(project),
            )
        except AlreadyExistsError:
            log.debug("%s was made by another at this moment", what)


def settle(client: Any, about: About, artifact: str, extra: Mapping[str, Any]) -> Package:
    """Create or update the single model package of this model, version label and content.

    Args:
        client: client of SageMaker.
        about: the model.
        artifact: ARN of its lineage artifact.
        extra: parts of the request that can be set at creation only.

    Raises:
        PokeflowError: if SageMaker's check of the package fails.

    """
    found, failed = _find(client, about)
    if found is None:
        found = _checked(client, about, _create(client, about, artifact, extra, failed))
    approval = _bring_up_to_date(client, found, about, artifact)
    return Package(str(found["ModelPackageArn"]), int(found["ModelPackageVersion"]), approval)


def _what(about: About) -> str:
    return f"model package of {about.model} {about.version} in {about.group}"


def _find(client: Any, about: About) -> tuple[dict[str, Any] | None, int]:
    """Return the model package with this key, or None, and the number of failed packages with it.

    A listing contains no properties. The key is therefore also in the description, which cannot be changed, so that
    only candidates are described. The description of a package from a pipeline contains the task's digest instead;
    its key is set later, with the other properties.
    """
    failed = 0
    listing = {
        "ModelPackageGroupName": about.group,
        "SortBy": "CreationTime",
        "SortOrder": "Ascending",
        "MaxResults": 100,
    }
    for row in pages(client, "list_model_packages", "ModelPackageSummaryList", _what(about), **listing):
        said = row.get("ModelPackageDescription", "")
        by_pipeline = f"run:{about.run}" in said
        if marker(about.key) not in said and not by_pipeline:
            continue
        if row["ModelPackageStatus"] == "Failed":
            failed += 1
            continue
        found = _checked(client, about, row["ModelPackageArn"])
        known = found.get("CustomerMetadataProperties", {})
        if known.get("pokeflow-key") == about.key:
            return found, failed
        if by_pipeline and "pokeflow-key" not in known and _serves(found) == about.uri:
            return found, failed
    return None, failed


def _serves(found: Mapping[str, Any]) -> str:
    """Return the URI of the bundle that a model package serves."""
    containers = found.get("InferenceSpecification", {}).get("Containers") or [{}]
    return str(containers[0].get("ModelDataUrl", ""))


def _create(client: Any, about: About, artifact: str, extra: Mapping[str, Any], failed: int) -> str:
    approval = about.approval or PENDING
    # Reusing the token of a failed package would return that package again.
    token = hashlib.sha256(f"{about.key} {failed}".encode()).hexdigest()[:32] if failed else about.key
    request = {
        "ModelPackageGroupName": about.group,
        "ModelPackageDescription": sentence(about),
        "ModelApprovalStatus": approval,
        "ModelCard": {"ModelCardContent": encode_json(card.build(about)), "ModelCardStatus": "Draft"},
        "CustomerMetadataProperties": properties(about, artifact, approval),
        "ClientToken": token,
        **extra,
    }
    try:
        return str(ask(client.create_model_package, _what(about), **request)["ModelPackageArn"])
    except RefusedError as error:
        if not isinstance(error, AlreadyExistsError) and error.code != "ValidationException":
            raise
        # Another machine may have used the token at the same time, with figures of a later benchmark.
        found, _ = _find(client, about)
        if found is None:
            raise
        return str(found["ModelPackageArn"])


def _checked(client: Any, about: About, arn: str) -> dict[str, Any]:
    """Wait for SageMaker's check of a model package and return its description.

    Raises:
        PokeflowError: if the check failed.

    """

    def look() -> dict[str, Any]:
        found: dict[str, Any] = ask(client.describe_model_package, _what(about), ModelPackageName=arn)
        return found

    found = waiting.until_settled(look, "ModelPackageStatus", ("Pending", "InProgress"), _what(about), PATIENCE)
    assert found
    if found["ModelPackageStatus"] == "Failed":
        details = found.get("ModelPackageStatusDetails", {})
        rows = [*details.get("ValidationStatuses", ()), *details.get("ImageScanStatuses", ())]
        reasons = "; ".join(str(row["FailureReason"]) for row in rows if row.get("FailureReason"))
        raise PokeflowError(
            f"{_what(about)}: SageMaker made it and says that it failed ({reasons or 'it gives no reason'}). "
            "Run this again: the next number is given."
        )
    return dict(found)


def _bring_up_to_date(client: Any, found: Mapping[str, Any], about: About, artifact: str) -> str:
    """Update what differs, in at most one request, and return the resulting approval status."""
    there: dict[str, str] = found.get("CustomerMetadataProperties", {})
    approval, given = str(found["ModelApprovalStatus"]), there.get("pokeflow-approval", "")
    wanted = _approval(found, about, given)
    mine = properties(about, artifact, given if wanted == approval else wanted)
    gone = [name for name in there if name.startswith(JUDGED) and name not in mine]
    kept = {name: value for name, value in there.items() if name not in gone}
    # The request contains all properties, so it is right whether AWS merges or replaces; people's own take precedence.
    together = {**kept, **dict([(n, v) for n, v in mine.items() if n in kept or len(kept) < PROPERTIES][:PROPERTIES])}
    changes: dict[str, Any] = {}
    if together != there:
        changes["CustomerMetadataProperties"] = together
    if gone:
        changes["CustomerMetadataPropertiesToRemove"] = gone
    if text := _card(found, about):
        changes["ModelCard"] = {"ModelCardContent": text}
    if wanted != approval:
        verdicts = "; ".join(f"{name} {verdict}" for name, verdict in about.verdicts.items())
        changes |= {"ModelApprovalStatus": wanted, "ApprovalDescription": f"{GATES}{printable(verdicts, 900)}"}
    if changes:
        ask(client.update_model_package, _what(about), ModelPackageArn=found["ModelPackageArn"], **changes)
    return wanted


def _approval(found: Mapping[str, Any], about: About, given: str) -> str:
    """Return the approval status to set: that of the gates, or the current one if a person decided or without gates.

    Args:
        found: description of the model package.
        about: the model.
        given: status that pokeflow set last. A person has decided if the current status differs from it, or if its
            description does not begin with ``GATES``.

    """
    standing, reason = str(found["ModelApprovalStatus"]), str(found.get("ApprovalDescription") or "")
    if about.approval is None or about.approval == standing:
        return standing
    if standing != given or (reason and not reason.startswith(GATES)):
        log.warning(
            "%s: the gates say %s; it stays %s, as a person decided (%s)",
            _what(about),
            about.approval,
            standing,
            reason or "no reason was given",
        )
        return standing
    return about.approval


def _card(found: Mapping[str, Any], about: About) -> str | None:
    """Return the card's new text; None if it is unchanged, too long, or reviewed and therefore not to be changed."""
    there = found.get("ModelCard") or {}
    if there.get("ModelCardStatus", "Draft") not in card.OPEN:
        return None
    try:
        before = json.loads(there.get("ModelCardContent") or "{}")
    except (ValueError, RecursionError):
        before = {}
    before = before if isinstance(before, dict) else {}
    after = card.merge(before, card.build(about))
    text = encode_json(after)
    if after == before:
        return None
    if len(text) > CARD:
        log.warning(
            "%s: with what people wrote its card has %d characters, %d too many",
            _what(about),
            len(text),
            len(text) - CARD,
        )
        return None
    return text
