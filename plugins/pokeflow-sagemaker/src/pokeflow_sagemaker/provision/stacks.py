"""The foundation's CloudFormation stack: read, compare, create, update, and wait."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow import PokeflowError
from pokeflow.progress import bar
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision import templates
from pokeflow_sagemaker.provision.names import TAG

TIMEOUT = 1800.0
"""Timeout in seconds for a stack or a project; typical is two minutes."""
MAX_INTERVAL = 5.0
_FAILED = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED")
"""Statuses of a stack whose creation or deletion failed: it can only be deleted and created again."""
_DENIED = ("not authorized to perform", "AccessDenied", "access denied")


@dataclass(frozen=True, slots=True)
class Stack:
    """A CloudFormation stack; ``body`` is its template's text."""

    id: str
    name: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]
    changed: str
    body: str = ""

    @property
    def is_busy(self) -> bool:
        """True while an operation on it is in progress."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def is_void(self) -> bool:
        """True if its creation failed, so that only its name exists."""
        return self.status in _FAILED


class StackError(PokeflowError):
    """A stack operation that failed and was rolled back; ``denied`` is True if permissions were missing."""

    def __init__(self, message: str, denied: bool) -> None:
        super().__init__(message)
        self.denied = denied


def find(region: str, name: str) -> Stack | None:
    """Return the stack of this name, without its template's text, or None if it does not exist."""
    cloudformation = aws.client("cloudformation", region)
    response = aws.find(cloudformation.describe_stacks, f"stack {name}", StackName=name)
    if response is None:
        return None
    row = response["Stacks"][0]
    return Stack(
        id=row["StackId"],
        name=row["StackName"],
        status=row["StackStatus"],
        parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in row.get("Parameters", ())},
        outputs={o["OutputKey"]: o["OutputValue"] for o in row.get("Outputs", ())},
        tags={t["Key"]: t["Value"] for t in row.get("Tags", ())},
        changed=str(row.get("LastUpdatedTime") or row.get("CreationTime")),
    )


def body(region: str, name: str) -> str:
    """Return the text of a stack's template as it was submitted."""
    cloudformation = aws.client("cloudformation", region)
    response = aws.ask(cloudformation.get_template, f"stack {name}", StackName=name, TemplateStage="Original")
    template = response["TemplateBody"]
    return template if isinstance(template, str) else json.dumps(template)


def same_text(left: str, right: str) -> bool:
    """Return whether two templates are equal except for whitespace."""
    return left.split() == right.split()


def require_ours(stack: Stack, project: str) -> None:
    """Raise a PokeflowError if a stack is not this project's, or is blocked by a change set or a failed rollback."""
    if stack.tags.get(TAG) != project:
        raise PokeflowError(
            f"stack {stack.name}: exists but does not belong to this project: it lacks the tag {TAG}={project}. "
            "Delete or tag it, or rename the project."
        )
    if stack.status == "REVIEW_IN_PROGRESS":
        raise PokeflowError(
            f"stack {stack.name}: a change set is pending. Execute it or delete the stack, then run the same command "
            "again."
        )
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        raise PokeflowError(
            f"stack {stack.name}: an earlier update failed, and so did its rollback. Run 'aws cloudformation "
            f"continue-update-rollback --stack-name {stack.name}', then the same command again."
        )


def put(
    region: str, name: str, text: str, parameters: Mapping[str, str], tags: Mapping[str, str], planned: Stack | None
) -> Stack | None:
    """Create or update a stack, and wait for it.

    Args:
        region: AWS region.
        name: Name of the stack.
        text: The template.
        parameters: Its parameters.
        tags: Tags of the stack.
        planned: The stack that the plan is based on, or None.

    Returns:
        The stack; None if it differs from ``planned`` by now, and nothing was done.

    Raises:
        StackError: If the operation failed and was rolled back.

    """
    cloudformation = aws.client("cloudformation", region)
    before = find(region, name)
    if before is not None and before.is_busy:
        before = wait_for_stack(region, name)
    if before is not None and (planned is None or (before.id, before.changed) != (planned.id, planned.changed)):
        return None
    if before is not None and before.is_void:
        delete(region, before)
        before = None
    token = _token(text, parameters, before)
    request: dict[str, Any] = {
        "StackName": name,
        "TemplateBody": text,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(parameters.items())],
        "Tags": [{"Key": k, "Value": v} for k, v in sorted(tags.items())],
        "ClientRequestToken": token,
    }
    resource = f"stack {name}"
    try:
        if before is None:
            aws.ask(cloudformation.create_stack, resource, OnFailure="ROLLBACK", **request)
        else:
            aws.ask(cloudformation.update_stack, resource, **request)
    except aws.AlreadyExistsError:
        pass  # by another run, or by a retry of this request: wait for it
    except aws.RefusedError as error:
        if "No updates are to be performed" not in str(error):
            raise
    return wait_for_stack(region, name, len(templates.parse_template(text)["Resources"]), token)


def delete(region: str, stack: Stack) -> None:
    """Delete the remains of a stack whose creation failed."""
    if not stack.is_void:
        raise ValueError(f"{stack.name} is {stack.status}: pokeflow deletes only stacks whose creation failed")
    cloudformation = aws.client("cloudformation", region)
    aws.ask(cloudformation.delete_stack, f"stack {stack.name}", StackName=stack.id)
    for _ in poll():
        now = find(region, stack.id)
        if now is None or now.status == "DELETE_COMPLETE":
            return
        if now.status == "DELETE_FAILED":
            raise PokeflowError(
                f"stack {stack.name}: cannot be deleted. Delete it in CloudFormation, then run the same command "
                f"again. {_reasons(region, stack.id, '')}"
            )
    raise timeout_error(f"stack {stack.name}")


def wait_for_stack(region: str, name: str, resources: int = 1, token: str = "") -> Stack:
    """Wait until no operation on a stack is in progress and return it.

    Args:
        region: AWS region.
        name: Name of the stack.
        resources: Number of its resources, for the progress bar.
        token: Token of a request to check the result of; empty: no check.

    Raises:
        StackError: If the request with this token failed.
        PokeflowError: If the stack vanishes, or on timeout.

    """
    with bar(f"stack {name}", resources) as advance:
        done = 0
        for _ in poll():
            stack = find(region, name)
            if stack is None:
                raise PokeflowError(f"stack {name}: was deleted during the wait. Run the same command again.")
            if not stack.is_busy:
                if token:
                    _require_success(region, stack, token)
                return stack
            ready = sum(row["ResourceStatus"].endswith("_COMPLETE") for row in _resources(region, stack.id))
            advance(max(0, ready - done), stack.status)
            done = max(done, ready)
    raise timeout_error(f"stack {name}")


def _require_success(region: str, stack: Stack, token: str) -> None:
    """Raise a StackError with the reasons if the request with this token failed."""
    if not stack.is_void and stack.status != "UPDATE_ROLLBACK_COMPLETE":
        return
    reasons = _reasons(region, stack.id, token)
    if stack.is_void or reasons:
        message = (
            f"stack {stack.name}: failed and was rolled back. Correct the cause and run the same command again. "
            f"{reasons}"
        )
        raise StackError(message, any(sign in reasons for sign in _DENIED))


def poll(patience: float = TIMEOUT) -> Iterator[None]:
    """Yield whenever it is time to poll, until the timeout; the intervals grow from 0.1 s to ``MAX_INTERVAL``."""
    began, wait = time.monotonic(), 0.1
    while time.monotonic() - began < patience:
        yield
        time.sleep(wait)
        wait = min(MAX_INTERVAL, wait * 1.5)


def timeout_error(resource: str) -> PokeflowError:
    """Return the error of a wait that timed out."""
    return PokeflowError(
        f"{resource}: an operation is still in progress after {TIMEOUT / 60:.0f} minutes. Run the same command again "
        "later."
    )


def _token(text: str, parameters: Mapping[str, str], before: Stack | None) -> str:
    """Return an idempotency token: the same request on the same state of a stack is executed only once."""
    wish = [text, sorted(parameters.items()), before and [before.id, before.changed, before.status]]
    return hashlib.sha256(json.dumps(wish, default=str).encode()).hexdigest()


def _resources(region: str, name: str) -> list[dict[str, Any]]:
    cloudformation = aws.client("cloudformation", region)
    try:
        return list(aws.pages(cloudformation, "list_stack_resources", "StackResourceSummaries", name, StackName=name))
    except aws.AccessDeniedError:
        return []  # only the progress bar uses it


def _reasons(region: str, name: str, token: str) -> str:
    """Return AWS's reasons for the first failures of a stack's request."""
    cloudformation = aws.client("cloudformation", region)
    try:
        events = list(aws.pages(cloudformation, "describe_stack_events", "StackEvents", name, StackName=name))
    except aws.AccessDeniedError as error:
        return f"The reasons cannot be read. {error}"
    failures = []
    for event in events:
        matches = not token or event.get("ClientRequestToken", token) == token
        why = str(event.get("ResourceStatusReason") or "")
        if matches and event["ResourceStatus"].endswith("_FAILED") and why and "cancelled" not in why:
            failures.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {aws.clean(why)}")
    return " ".join(dict.fromkeys(reversed(failures[-3:])))
