"""Model packages in a group: found by their key, made once, brought up to date without undoing what people decided."""

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
    encoded,
    marker,
    printable,
    properties,
    sentence,
)

log = logging.getLogger(__name__)

GATES = "pokeflow gates: "
"""Begins the reason of an approval that the gates gave: any other one was given by a person."""
CARD = 100_000
"""Characters that a card may have."""
PATIENCE = 300.0
"""Seconds that a package may take to be checked."""


@dataclass(frozen=True, slots=True)
class Package:
    """A registered version: its ARN, the number that SageMaker gave it, and its approval as it stands."""

    arn: str
    number: int
    approval: str


def ensure_group(client: Any, name: str, project: str) -> None:
    """Make the group, unless it is there; one that somebody else made is used as it is."""
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
    """The one package of this model, version label and content, made or brought up to date.

    ``extra`` are parts of the request that can only be told when it is made.
    """
    found, failed = _find(client, about)
    if found is None:
        found = _checked(client, about, _create(client, about, artifact, extra, failed))
    approval = _bring_up_to_date(client, found, about, artifact)
    return Package(str(found["ModelPackageArn"]), int(found["ModelPackageVersion"]), approval)


def _what(about: About) -> str:
    return f"model package of {about.model} {about.version} in {about.group}"


def _find(client: Any, about: About) -> tuple[dict[str, Any] | None, int]:
    """The package with this key, and how many with it came to nothing.

    A listing shows no properties. The key is in the description too, which nobody can change, so that only packages
    that may be the one are looked at. A pipeline's package names the task instead, and learns its key here.
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
    """The address of the bundle that a package serves."""
    containers = found.get("InferenceSpecification", {}).get("Containers") or [{}]
    return str(containers[0].get("ModelDataUrl", ""))


def _create(client: Any, about: About, artifact: str, extra: Mapping[str, Any], failed: int) -> str:
    approval = about.approval or PENDING
    # A token that stood for a package that failed would bring back that one.
    token = hashlib.sha256(f"{about.key} {failed}".encode()).hexdigest()[:32] if failed else about.key
    request = {
        "ModelPackageGroupName": about.group,
        "ModelPackageDescription": sentence(about),
        "ModelApprovalStatus": approval,
        "ModelCard": {"ModelCardContent": encoded(card.build(about)), "ModelCardStatus": "Draft"},
        "CustomerMetadataProperties": properties(about, artifact, approval),
        "ClientToken": token,
        **extra,
    }
    try:
        return str(ask(client.create_model_package, _what(about), **request)["ModelPackageArn"])
    except RefusedError as error:
        if not isinstance(error, AlreadyExistsError) and error.code != "ValidationException":
            raise
        # Another machine may have used the token this moment, with a later benchmark's figures.
        found, _ = _find(client, about)
        if found is None:
            raise
        return str(found["ModelPackageArn"])


def _checked(client: Any, about: About, arn: str) -> dict[str, Any]:
    """A package once SageMaker has looked at it; PokeflowError if it did not like what it saw."""

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
    """Ask for what differs, in one call or none; the approval as it then stands."""
    there: dict[str, str] = found.get("CustomerMetadataProperties", {})
    approval, given = str(found["ModelApprovalStatus"]), there.get("pokeflow-approval", "")
    wanted = _approval(found, about, given)
    mine = properties(about, artifact, given if wanted == approval else wanted)
    gone = [name for name in there if name.startswith(JUDGED) and name not in mine]
    kept = {name: value for name, value in there.items() if name not in gone}
    # Whether AWS merges or replaces, all of them stay; what people added is not crowded out.
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
    """What the approval is to be: the gates', unless a person had the last word or nothing was asked.

    ``given`` is what pokeflow set last. A person's decision differs from it, or has a reason that is not the gates'.
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
    """The card's new text; None where it says so already, or is reviewed and so no longer pokeflow's to write."""
    there = found.get("ModelCard") or {}
    if there.get("ModelCardStatus", "Draft") not in card.OPEN:
        return None
    try:
        before = json.loads(there.get("ModelCardContent") or "{}")
    except (ValueError, RecursionError):
        before = {}
    before = before if isinstance(before, dict) else {}
    after = card.merge(before, card.build(about))
    text = encoded(after)
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
