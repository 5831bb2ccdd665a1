"""SageMaker's registry: groups of model packages, their numbered versions, and model cards."""

import json

from .buckets import check_data, check_image
from .rows import Kind, kind, page
from .state import AwsError, Row, State, invalid, now, operation

GONE = ("ValidationException", "{kind} {arn} does not exist.")


def _complete_group(state: State, row: Row) -> None:
    row["ModelPackageGroupStatus"] = "Completed"


def _group_dropped(state: State, row: Row) -> None:
    name = row["ModelPackageGroupName"]
    if any(package.get("ModelPackageGroupName") == name for package in state.of("ModelPackage").values()):
        raise AwsError("ConflictException", f"Model package group {name} cannot be deleted: it has model packages.")


GROUP = kind(
    Kind(
        "ModelPackageGroup",
        "model-package-group",
        "ModelPackageGroupName",
        missing=("ValidationException", "ModelPackageGroup {arn} does not exist."),
        taken=("ValidationException", "Model Package Group already exists: {arn}"),
        after_create=_complete_group,
        dropped=_group_dropped,
    )
)
PACKAGE = Kind("ModelPackage", "model-package", "Id", missing=GONE)


def _check_containers(state: State, row: Row) -> None:
    for container in (row.get("InferenceSpecification") or {}).get("Containers") or ():
        if "Image" in container:
            check_image(container["Image"])
        if uri := container.get("ModelDataUrl"):
            check_data(state, uri)
    if "SourceUri" in row and row["SourceUri"].startswith("s3://"):
        check_data(state, row["SourceUri"])
    if card := row.get("ModelCard"):
        check_card(card.get("ModelCardContent", "{}"))


def check_card(content: str) -> None:
    """Refuse a model card that is not a JSON object, or has keys that the schema lacks."""
    try:
        card = json.loads(content)
    except ValueError as error:
        raise invalid(f"Model card content is not valid JSON: {error}") from error
    if not isinstance(card, dict):
        raise invalid("Model card content must be a JSON object.")
    known = {
        "model_overview",
        "model_package_details",
        "intended_uses",
        "business_details",
        "training_details",
        "evaluation_details",
        "additional_information",
    }
    if strange := sorted(card.keys() - known):
        raise invalid(f"Model card content does not match the schema: extraneous key [{strange[0]}] is not permitted.")


@operation("CreateModelPackage")
def create_package(state: State, request: Row) -> Row:
    """Create the next version in a group, or a package with a name; the same token creates it once."""
    return state.once("CreateModelPackage", request, "ClientToken", lambda: _create(state, request))


def _create(state: State, request: Row) -> Row:
    group, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
    if bool(group) == bool(name):
        raise invalid("Either ModelPackageGroupName or ModelPackageName must be given, and not both.")
    row: Row = {k: v for k, v in request.items() if k != "ClientToken"}
    _check_containers(state, row)
    row.setdefault("ModelPackageRegistrationType", "Registered")
    if group:
        if request.get("Tags"):
            raise invalid("Tags cannot be given for a versioned model package: it has those of its group.")
        known = GROUP.find(state, group)
        group = known["ModelPackageGroupName"]
        number = known["Last"] = known.get("Last", 0) + 1
        row |= {"Id": f"{group}/{number}", "ModelPackageGroupName": group, "ModelPackageVersion": number}
        row.setdefault("ModelApprovalStatus", "PendingManualApproval")
    else:
        row["Id"] = name
    package = PACKAGE.create(state, row)
    failed = (group or name) in state.trouble.fail
    status = "Failed" if failed else "Completed"
    package |= {"ModelPackageStatus": "Pending", "ModelPackageStatusDetails": {"ValidationStatuses": []}}
    state.later(state.trouble.becoming, lambda: package.update(ModelPackageStatus=status))
    return package


@operation("DescribeModelPackage")
def describe_package(state: State, request: Row) -> Row:
    """Describe a package, by name or ARN."""
    return PACKAGE.find(state, request["ModelPackageName"])


@operation("UpdateModelPackage")
def update_package(state: State, request: Row) -> Row:
    """Update approval, card or properties of a package."""
    return state.once("UpdateModelPackage", request, "ClientToken", lambda: _update(state, request))


def _update(state: State, request: Row) -> Row:
    row = PACKAGE.find(state, request["ModelPackageArn"])
    _check_containers(state, {k: v for k, v in request.items() if k != "ModelPackageArn"})
    properties = {**row.get("CustomerMetadataProperties", {}), **(request.get("CustomerMetadataProperties") or {})}
    for name in request.get("CustomerMetadataPropertiesToRemove") or ():
        properties.pop(name, None)
    aside = ("ModelPackageArn", "ClientToken", "CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove")
    row |= {k: v for k, v in request.items() if k not in aside}
    if "ModelCard" in request and "ModelCard" in row:
        row["ModelCard"] = {"ModelCardStatus": "Draft", **row["ModelCard"], **request["ModelCard"]}
    row |= {"CustomerMetadataProperties": properties, "LastModifiedTime": now()}
    return row


@operation("DeleteModelPackage")
def delete_package(state: State, request: Row) -> Row:
    """Delete a package; its number is not reused."""
    return PACKAGE.delete(state, {"Id": request["ModelPackageName"]})


@operation("ListModelPackages")
def list_packages(state: State, request: Row) -> Row:
    """List the versions of a group, or packages without one."""
    request = dict(request)
    kind = request.pop("ModelPackageType", None) or (
        "Versioned" if request.get("ModelPackageGroupName") else "Unversioned"
    )
    group = request.get("ModelPackageGroupName")
    if group:
        request["ModelPackageGroupName"] = GROUP.find(state, group)["ModelPackageGroupName"]
    rows = list(state.of("ModelPackage").values())
    if kind != "Both":
        rows = [row for row in rows if ("ModelPackageGroupName" in row) == (kind == "Versioned")]
    return page("ListModelPackages", rows, request)


def _card_checked(state: State, row: Row) -> None:
    check_card(row["Content"])
    row |= {"ModelCardVersion": 1, "Before": []}


def _card_changed(state: State, row: Row, request: Row) -> None:
    if "Content" in request:
        check_card(request["Content"])
    row["Before"].append({k: v for k, v in row.items() if k != "Before"})
    row["ModelCardVersion"] += 1


CARD = kind(
    Kind(
        "ModelCard",
        "model-card",
        "ModelCardName",
        missing=("ResourceNotFound", "Model card {name} does not exist."),
        taken=("ConflictException", "Modelcard {arn} already exists"),
        check=_card_checked,
        changed=_card_changed,
    )
)


@operation("DescribeModelCard")
def describe_card(state: State, request: Row) -> Row:
    """Describe a card in its last or in the requested version."""
    row = CARD.describe(state, request)
    wanted = request.get("ModelCardVersion") or row["ModelCardVersion"]
    version = next((card for card in [*row["Before"], row] if card["ModelCardVersion"] == wanted), None)
    if version is None:
        raise AwsError("ResourceNotFound", f"Model card {request['ModelCardName']} has no version {wanted}.")
    return version


@operation("ListModelCardVersions")
def list_card_versions(state: State, request: Row) -> Row:
    """List every version of a card."""
    row = CARD.describe(state, request)
    request = {k: v for k, v in request.items() if k != "ModelCardName"}
    return page("ListModelCardVersions", [*row["Before"], row], request)
