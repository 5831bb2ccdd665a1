"""Resources of SageMaker with the same operations (create, describe, update, list, delete), and their tags."""

import base64
import binascii
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .state import ACCOUNT, AwsError, Handler, Row, State, invalid, now, operation
from .validation import model

PAGE = 10
"""Default number of rows of a listing."""
TAGS = 50


def do_nothing(state: State, row: Row) -> None:
    """Do nothing: the default of a kind's functions."""


@dataclass(frozen=True)
class Kind:
    """One kind of resource, with its names and errors.

    ``key`` is the member of a request that names it; ``missing`` and ``taken`` are code and message for a name that
    does not exist, and for one that exists. ``check`` refuses wrong requests and adds derived values;
    ``after_create`` and ``dropped`` are called afterwards.
    """

    name: str
    segment: str
    key: str
    missing: tuple[str, str] = ("ResourceNotFound", "{kind} {name} does not exist.")
    taken: tuple[str, str] = ("ValidationException", "{kind} {name} already exists.")
    check: Callable[[State, Row], None] = do_nothing
    after_create: Callable[[State, Row], None] = do_nothing
    dropped: Callable[[State, Row], None] = do_nothing
    changed: Callable[[State, Row, Row], None] = lambda state, row, request: None
    plural: str = ""
    operations: tuple[str, ...] = ("Create", "Describe", "Update", "Delete", "List")

    def error(self, said: tuple[str, str], name: str, arn: str = "") -> AwsError:
        """Return the error for a name."""
        return AwsError(said[0], said[1].format(kind=self.name, name=name, arn=arn or name))

    def find(self, state: State, name: str) -> Row:
        """Return the resource with this name or ARN."""
        for known, row in state.of(self.name).items():
            if name in (known, row.get(f"{self.name}Arn")):
                return row
        bare = name.rpartition("/")[2]
        raise self.error(self.missing, bare, name if name.startswith("arn:") else state.arn(self.segment, bare))

    def create(self, state: State, request: Row) -> Row:
        """Create a resource, and return its row."""
        row = copy.deepcopy(request)
        check_tags(row.get("Tags"))
        name = row[self.key]
        arn = state.arn(self.segment, name if self.name == "PipelineExecution" else str(name))
        if name in state.of(self.name):
            raise self.error(self.taken, name, arn)
        row |= {f"{self.name}Arn": arn, "CreationTime": now(), "LastModifiedTime": now()}
        self.check(state, row)
        state.of(self.name)[name] = row
        state.tags[row[f"{self.name}Arn"]] = {tag["Key"]: tag["Value"] for tag in row.pop("Tags", None) or ()}
        self.after_create(state, row)
        return row

    def named(self, request: Row) -> str:
        """Return the name of the resource in a request."""
        named = (request.get(key) for key in (self.key, f"{self.name}Arn", f"{self.name}Name"))
        return next((str(name) for name in named if name), "")

    def describe(self, state: State, request: Row) -> Row:
        """Return the row of the resource in a request."""
        return self.find(state, self.named(request))

    def update(self, state: State, request: Row) -> Row:
        """Update the row by the request, except its names."""
        row = self.find(state, self.named(request))
        self.changed(state, row, request)
        names = (self.key, f"{self.name}Arn", f"{self.name}Name")
        row |= {k: copy.deepcopy(v) for k, v in request.items() if k not in names and v is not None}
        row["LastModifiedTime"] = now()
        return row

    def delete(self, state: State, request: Row) -> Row:
        """Delete the resource, and return its row."""
        row = self.find(state, self.named(request))
        self.dropped(state, row)
        rows = state.of(self.name)
        del rows[next(name for name, known in rows.items() if known is row)]
        state.tags.pop(row[f"{self.name}Arn"], None)
        return row

    def list(self, state: State, request: Row) -> Row:
        """Return a page of the rows that match the request."""
        return page(f"List{self.plural or self.name + 's'}", list(state.of(self.name).values()), request)


def kind(known: Kind) -> Kind:
    """Register the operations of a kind that the service has and that have no function of their own."""
    handlers: dict[str, Handler] = {
        f"Create{known.name}": known.create,
        f"Describe{known.name}": known.describe,
        f"Update{known.name}": known.update,
        f"Delete{known.name}": known.delete,
        f"List{known.plural or known.name + 's'}": known.list,
    }
    for name, handler in handlers.items():
        if name in model("sagemaker").operation_names and name.startswith(known.operations):
            operation(name)(handler)
    return known


AFTER = ("CreatedAfter", "CreationTimeAfter")
BEFORE = ("CreatedBefore", "CreationTimeBefore")
ASIDE = ("MaxResults", "NextToken", "SortBy", "SortOrder")


def matches(row: Row, wanted: str, value: Any) -> bool:  # noqa: PLR0911 - one line for each filter
    """Return whether a row matches a filter of a listing."""
    name = next((str(v) for k, v in row.items() if k.endswith(("JobName", "Name"))), "")
    if wanted in AFTER:
        return bool(row["CreationTime"] > value)
    if wanted in BEFORE:
        return bool(row["CreationTime"] < value)
    if wanted.startswith("LastModifiedTime"):
        return bool(row["LastModifiedTime"] > value) == wanted.endswith("After")
    if wanted == "NameContains":
        names = [v for k, v in row.items() if k.endswith("Name") and isinstance(v, str)]
        return any(value.lower() in known.lower() for known in names)
    if wanted.endswith("NamePrefix"):
        return name.startswith(value)
    if wanted == "SourceUri":
        return bool(row["Source"]["SourceUri"] == value)
    if wanted == "StatusEquals":
        return any(v == value for k, v in row.items() if k.endswith("Status") and not k.startswith("Secondary"))
    if wanted.endswith("Equals"):
        wanted = wanted.removesuffix("Equals")
    return bool(row.get(wanted) == value)


def page(operation: str, rows: list[Row], request: Row) -> Row:
    """Answer a listing: the matching rows, sorted, ten at a time unless the request says otherwise."""
    output = model("sagemaker").operation_model(operation).output_shape
    listed = next(name for name, shape in output.members.items() if shape.type_name == "list")
    request = {name: value for name, value in request.items() if value is not None}
    filters = {name: value for name, value in request.items() if name not in ASIDE}
    meant = [row for row in rows if all(matches(row, name, value) for name, value in filters.items())]
    by = request.get("SortBy", "CreationTime")

    def order(numbered: tuple[int, Row]) -> tuple[Any, int]:
        number, row = numbered
        if by in ("Name", "ModelPackageGroupName"):
            return next(str(v) for k, v in row.items() if k.endswith("Name")), number
        status = next((str(v) for k, v in row.items() if k.endswith("Status")), "") if by == "Status" else ""
        return (status or row.get(by) or row.get("CreationTime") or 0), number

    falling = request.get("SortOrder", "Descending" if "SortBy" not in request else "Ascending") == "Descending"
    meant = [row for _, row in sorted(enumerate(meant), key=order, reverse=falling)]
    return page_of(listed, meant, request)


def page_of(listed: str, rows: list[Row], request: Row) -> Row:
    """Return one page of rows, and the token of the next."""
    start, size = 0, request.get("MaxResults") or PAGE
    if token := request.get("NextToken"):
        try:
            start = json.loads(base64.b64decode(token))["from"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise invalid("Invalid NextToken.") from error
    answer: Row = {listed: rows[start : start + size]}
    if start + size < len(rows):
        answer["NextToken"] = base64.b64encode(json.dumps({"from": start + size}).encode()).decode()
    return answer


def check_tags(tags: list[Row] | None) -> None:
    """Refuse reserved tags, duplicate tags, and more than fifty."""
    keys = [tag["Key"] for tag in tags or ()]
    if own := [key for key in keys if key.lower().startswith("aws:")]:
        raise invalid(f"Tag keys that begin with aws: are reserved for internal use: {own[0]}")
    if len(set(keys)) < len(keys):
        raise invalid("Duplicate tag keys found. Please note that tag keys are case insensitive.")
    if len(keys) > TAGS:
        raise invalid(f"The number of tags exceeds the limit of {TAGS}.")


def _tags_of(state: State, arn: str) -> dict[str, str]:
    if f":{state.region}:{ACCOUNT}:" not in arn:
        raise invalid(f"The ARN {arn} is not of this region and account.")
    if arn not in state.tags:
        raise invalid(f"Resource {arn} does not exist.")
    return state.tags[arn]


@operation("AddTags")
def add_tags(state: State, request: Row) -> Row:
    """Add tags to a resource, up to fifty."""
    check_tags(request["Tags"])
    known = _tags_of(state, request["ResourceArn"])
    all_of = known | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    check_tags([{"Key": key} for key in all_of])
    known.update(all_of)
    return {"Tags": [{"Key": key, "Value": value} for key, value in known.items()]}


@operation("ListTags")
def list_tags(state: State, request: Row) -> Row:
    """List the tags of a resource."""
    tags = [{"Key": key, "Value": value} for key, value in _tags_of(state, request["ResourceArn"]).items()]
    return page_of("Tags", tags, {"MaxResults": TAGS, **request})


@operation("DeleteTags")
def delete_tags(state: State, request: Row) -> Row:
    """Delete tags of a resource."""
    known = _tags_of(state, request["ResourceArn"])
    for key in request["TagKeys"]:
        known.pop(key, None)
    return {}
