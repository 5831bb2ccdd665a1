"""Resources of SageMaker that are made, described, changed, listed and deleted alike, and the tags on all of them."""

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
"""Rows that a listing gives where the request does not say how many."""
TAGS = 50


def nothing(state: State, row: Row) -> None:
    """No more than is done for every kind."""


@dataclass(frozen=True)
class Kind:
    """How one kind of resource is called and refused.

    ``key`` is the member of a request that names it; ``missing`` and ``taken`` are the code and the sentence for a name
    that nothing has, and that something has. ``check`` refuses what makes no sense and fills in what follows;
    ``made`` and ``dropped`` are told afterwards.
    """

    name: str
    segment: str
    key: str
    missing: tuple[str, str] = ("ResourceNotFound", "{kind} {name} does not exist.")
    taken: tuple[str, str] = ("ValidationException", "{kind} {name} already exists.")
    check: Callable[[State, Row], None] = nothing
    made: Callable[[State, Row], None] = nothing
    dropped: Callable[[State, Row], None] = nothing
    changed: Callable[[State, Row, Row], None] = lambda state, row, asked: None
    plural: str = ""
    operations: tuple[str, ...] = ("Create", "Describe", "Update", "Delete", "List")

    def error(self, said: tuple[str, str], name: str, arn: str = "") -> AwsError:
        """A refusal of a name."""
        return AwsError(said[0], said[1].format(kind=self.name, name=name, arn=arn or name))

    def find(self, state: State, name: str) -> Row:
        """The resource with this name or ARN."""
        for known, row in state.of(self.name).items():
            if name in (known, row.get(f"{self.name}Arn")):
                return row
        bare = name.rpartition("/")[2]
        raise self.error(self.missing, bare, name if name.startswith("arn:") else state.arn(self.segment, bare))

    def create(self, state: State, asked: Row) -> Row:
        """A new resource; the row itself."""
        row = copy.deepcopy(asked)
        check_tags(row.get("Tags"))
        name = row[self.key]
        arn = state.arn(self.segment, name if self.name == "PipelineExecution" else str(name))
        if name in state.of(self.name):
            raise self.error(self.taken, name, arn)
        row |= {f"{self.name}Arn": arn, "CreationTime": now(), "LastModifiedTime": now()}
        self.check(state, row)
        state.of(self.name)[name] = row
        state.tags[row[f"{self.name}Arn"]] = {tag["Key"]: tag["Value"] for tag in row.pop("Tags", None) or ()}
        self.made(state, row)
        return row

    def named(self, asked: Row) -> str:
        """What a request calls the resource."""
        named = (asked.get(key) for key in (self.key, f"{self.name}Arn", f"{self.name}Name"))
        return next((str(name) for name in named if name), "")

    def describe(self, state: State, asked: Row) -> Row:
        """What there is of it."""
        return self.find(state, self.named(asked))

    def update(self, state: State, asked: Row) -> Row:
        """The row with what the request brings, but the names."""
        row = self.find(state, self.named(asked))
        self.changed(state, row, asked)
        names = (self.key, f"{self.name}Arn", f"{self.name}Name")
        row |= {k: copy.deepcopy(v) for k, v in asked.items() if k not in names and v is not None}
        row["LastModifiedTime"] = now()
        return row

    def delete(self, state: State, asked: Row) -> Row:
        """The row that was."""
        row = self.find(state, self.named(asked))
        self.dropped(state, row)
        rows = state.of(self.name)
        del rows[next(name for name, known in rows.items() if known is row)]
        state.tags.pop(row[f"{self.name}Arn"], None)
        return row

    def list(self, state: State, asked: Row) -> Row:
        """A page of those that the request means."""
        return page(f"List{self.plural or self.name + 's'}", list(state.of(self.name).values()), asked)


def kind(known: Kind) -> Kind:
    """Let SageMaker know a kind: its operations that the service has and nobody wrote by hand."""
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
    """Whether a row is one of those that a listing's filter means."""
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


def page(operation: str, rows: list[Row], asked: Row) -> Row:
    """What a listing answers: the rows that it means, sorted, ten at a time unless it asks for more."""
    output = model("sagemaker").operation_model(operation).output_shape
    listed = next(name for name, shape in output.members.items() if shape.type_name == "list")
    asked = {name: value for name, value in asked.items() if value is not None}
    filters = {name: value for name, value in asked.items() if name not in ASIDE}
    meant = [row for row in rows if all(matches(row, name, value) for name, value in filters.items())]
    by = asked.get("SortBy", "CreationTime")

    def order(numbered: tuple[int, Row]) -> tuple[Any, int]:
        number, row = numbered
        if by in ("Name", "ModelPackageGroupName"):
            return next(str(v) for k, v in row.items() if k.endswith("Name")), number
        status = next((str(v) for k, v in row.items() if k.endswith("Status")), "") if by == "Status" else ""
        return (status or row.get(by) or row.get("CreationTime") or 0), number

    falling = asked.get("SortOrder", "Descending" if "SortBy" not in asked else "Ascending") == "Descending"
    meant = [row for _, row in sorted(enumerate(meant), key=order, reverse=falling)]
    return turned(listed, meant, asked)


def turned(listed: str, rows: list[Row], asked: Row) -> Row:
    """One page of rows, and the token of the next."""
    start, size = 0, asked.get("MaxResults") or PAGE
    if token := asked.get("NextToken"):
        try:
            start = json.loads(base64.b64decode(token))["from"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise invalid("Invalid NextToken.") from error
    answer: Row = {listed: rows[start : start + size]}
    if start + size < len(rows):
        answer["NextToken"] = base64.b64encode(json.dumps({"from": start + size}).encode()).decode()
    return answer


def check_tags(tags: list[Row] | None) -> None:
    """Refuse tags that AWS keeps for itself, tags twice, and more than fifty."""
    keys = [tag["Key"] for tag in tags or ()]
    if own := [key for key in keys if key.lower().startswith("aws:")]:
        raise invalid(f"Tag keys that begin with aws: are reserved for internal use: {own[0]}")
    if len(set(keys)) < len(keys):
        raise invalid("Duplicate tag keys found. Please note that tag keys are case insensitive.")
    if len(keys) > TAGS:
        raise invalid(f"The number of tags exceeds the limit of {TAGS}.")


def _tagged(state: State, arn: str) -> dict[str, str]:
    if f":{state.region}:{ACCOUNT}:" not in arn:
        raise invalid(f"The ARN {arn} is not of this region and account.")
    if arn not in state.tags:
        raise invalid(f"Resource {arn} does not exist.")
    return state.tags[arn]


@operation("AddTags")
def add_tags(state: State, asked: Row) -> Row:
    """Tags on a resource, as many as fifty."""
    check_tags(asked["Tags"])
    known = _tagged(state, asked["ResourceArn"])
    all_of = known | {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
    check_tags([{"Key": key} for key in all_of])
    known.update(all_of)
    return {"Tags": [{"Key": key, "Value": value} for key, value in known.items()]}


@operation("ListTags")
def list_tags(state: State, asked: Row) -> Row:
    """The tags on a resource."""
    tags = [{"Key": key, "Value": value} for key, value in _tagged(state, asked["ResourceArn"]).items()]
    return turned("Tags", tags, {"MaxResults": TAGS, **asked})


@operation("DeleteTags")
def delete_tags(state: State, asked: Row) -> Row:
    """A resource without these tags."""
    known = _tagged(state, asked["ResourceArn"])
    for key in asked["TagKeys"]:
        known.pop(key, None)
    return {}
