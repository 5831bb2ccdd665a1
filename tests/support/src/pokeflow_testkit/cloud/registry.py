"""SageMaker's registry: groups of model packages, their numbered versions, and model cards."""

import json

from .buckets import check_data, check_image
from .rows import Kind, kind, page
from .state import AwsError, Row, State, invalid, now, operation

GONE = ("ValidationException", "{kind} {arn} does not exist.")


def _group_made(state: State, row: Row) -> None:
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
        made=_group_made,
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
    """Refuse a model card that is not a JSON object, or holds what the cards' schema has not."""
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
def create_package(state: State, asked: Row) -> Row:
    """The next version in a group, or a package of its own name; the same token makes it once."""
    return state.once("CreateModelPackage", asked, "ClientToken", lambda: _created(state, asked))


def _created(state: State, asked: Row) -> Row:
    group, name = asked.get("ModelPackageGroupName"), asked.get("ModelPackageName")
    if bool(group) == bool(name):
        raise invalid("Either ModelPackageGroupName or ModelPackageName must be given, and not both.")
    row: Row = {k: v for k, v in asked.items() if k != "ClientToken"}
    _check_containers(state, row)
    row.setdefault("ModelPackageRegistrationType", "Registered")
    if group:
        if asked.get("Tags"):
            raise invalid("Tags cannot be given for a versioned model package: it has those of its group.")
        known = GROUP.find(state, group)
        group = known["ModelPackageGroupName"]
        number = known["Last"] = known.get("Last", 0) + 1
        row |= {"Id": f"{group}/{number}", "ModelPackageGroupName": group, "ModelPackageVersion": number}
        row.setdefault("ModelApprovalStatus", "PendingManualApproval")
    else:
        row["Id"] = name
    made = PACKAGE.create(state, row)
    failed = (group or name) in state.trouble.fail
    status = "Failed" if failed else "Completed"
    made |= {"ModelPackageStatus": "Pending", "ModelPackageStatusDetails": {"ValidationStatuses": []}}
    state.later(state.trouble.becoming, lambda: made.update(ModelPackageStatus=status))
    return made


@operation("DescribeModelPackage")
def describe_package(state: State, asked: Row) -> Row:
    """A package, by name or ARN."""
    return PACKAGE.find(state, asked["ModelPackageName"])


@operation("UpdateModelPackage")
def update_package(state: State, asked: Row) -> Row:
    """A package with another approval, card or properties."""
    return state.once("UpdateModelPackage", asked, "ClientToken", lambda: _updated(state, asked))


def _updated(state: State, asked: Row) -> Row:
    row = PACKAGE.find(state, asked["ModelPackageArn"])
    _check_containers(state, {k: v for k, v in asked.items() if k != "ModelPackageArn"})
    properties = {**row.get("CustomerMetadataProperties", {}), **(asked.get("CustomerMetadataProperties") or {})}
    for name in asked.get("CustomerMetadataPropertiesToRemove") or ():
        properties.pop(name, None)
    aside = ("ModelPackageArn", "ClientToken", "CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove")
    row |= {k: v for k, v in asked.items() if k not in aside}
    if "ModelCard" in asked and "ModelCard" in row:
        row["ModelCard"] = {"ModelCardStatus": "Draft", **row["ModelCard"], **asked["ModelCard"]}
    row |= {"CustomerMetadataProperties": properties, "LastModifiedTime": now()}
    return row


@operation("DeleteModelPackage")
def delete_package(state: State, asked: Row) -> Row:
    """The package that was; its number is not given again."""
    return PACKAGE.delete(state, {"Id": asked["ModelPackageName"]})


@operation("ListModelPackages")
def list_packages(state: State, asked: Row) -> Row:
    """Versions of a group, or packages without one."""
    asked = dict(asked)
    kind = asked.pop("ModelPackageType", None) or ("Versioned" if asked.get("ModelPackageGroupName") else "Unversioned")
    group = asked.get("ModelPackageGroupName")
    if group:
        asked["ModelPackageGroupName"] = GROUP.find(state, group)["ModelPackageGroupName"]
    rows = list(state.of("ModelPackage").values())
    if kind != "Both":
        rows = [row for row in rows if ("ModelPackageGroupName" in row) == (kind == "Versioned")]
    return page("ListModelPackages", rows, asked)


def _card_checked(state: State, row: Row) -> None:
    check_card(row["Content"])
    row |= {"ModelCardVersion": 1, "Before": []}


def _card_changed(state: State, row: Row, asked: Row) -> None:
    if "Content" in asked:
        check_card(asked["Content"])
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
def describe_card(state: State, asked: Row) -> Row:
    """A card, the last version of it or the one that is asked for."""
    row = CARD.describe(state, asked)
    wanted = asked.get("ModelCardVersion") or row["ModelCardVersion"]
    found = next((card for card in [*row["Before"], row] if card["ModelCardVersion"] == wanted), None)
    if found is None:
        raise AwsError("ResourceNotFound", f"Model card {asked['ModelCardName']} has no version {wanted}.")
    return found


@operation("ListModelCardVersions")
def list_card_versions(state: State, asked: Row) -> Row:
    """Every version of a card."""
    row = CARD.describe(state, asked)
    asked = {k: v for k, v in asked.items() if k != "ModelCardName"}
    return page("ListModelCardVersions", [*row["Before"], row], asked)
