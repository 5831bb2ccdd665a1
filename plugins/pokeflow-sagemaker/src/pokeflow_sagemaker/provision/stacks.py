"""The stack that a project stands on: read, compared, made, changed, and waited for."""

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

PATIENCE = 1800.0
"""Seconds that a stack or a project may take; one of these takes two minutes."""
SLOWEST = 5.0
_FAILED = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED")
"""States of a stack that never was: it can only be deleted and made again."""
_DENIED = ("not authorized to perform", "AccessDenied", "access denied")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation tells of it; ``body`` is its template's text."""

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
        """Whether somebody is changing it right now."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def is_void(self) -> bool:
        """Whether making it failed: nothing of it is there, but its name."""
        return self.status in _FAILED


class StackError(PokeflowError):
    """A stack that came to nothing and was rolled back; ``denied`` where rights were lacking."""

    def __init__(self, message: str, denied: bool) -> None:
        super().__init__(message)
        self.denied = denied


def find(region: str, name: str) -> Stack | None:
    """The stack of this name, without its text, or None."""
    cloudformation = aws.client("cloudformation", region)
    found = aws.find(cloudformation.describe_stacks, f"stack {name}", StackName=name)
    if found is None:
        return None
    told = found["Stacks"][0]
    return Stack(
        id=told["StackId"],
        name=told["StackName"],
        status=told["StackStatus"],
        parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in told.get("Parameters", ())},
        outputs={o["OutputKey"]: o["OutputValue"] for o in told.get("Outputs", ())},
        tags={t["Key"]: t["Value"] for t in told.get("Tags", ())},
        changed=str(told.get("LastUpdatedTime") or told.get("CreationTime")),
    )


def body(region: str, name: str) -> str:
    """The text of a stack's template as it was given."""
    cloudformation = aws.client("cloudformation", region)
    answer = aws.ask(cloudformation.get_template, f"stack {name}", StackName=name, TemplateStage="Original")
    told = answer["TemplateBody"]
    return told if isinstance(told, str) else json.dumps(told)


def same_text(one: str, other: str) -> bool:
    """Tell whether two templates say the same, whatever their line ends."""
    return one.split() == other.split()


def require_ours(stack: Stack, project: str) -> None:
    """Refuse a stack of the same name that is not this project's."""
    if stack.tags.get(TAG) != project:
        raise PokeflowError(
            f"stack {stack.name}: is there, and is not this project's: it has no tag {TAG}={project}. "
            "Delete or tag it, or give the project another name."
        )
    if stack.status == "REVIEW_IN_PROGRESS":
        raise PokeflowError(
            f"stack {stack.name}: a change set of somebody's waits there. Execute it, or delete the stack, and run "
            "this again."
        )
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        raise PokeflowError(
            f"stack {stack.name}: an earlier change could be neither made nor undone. Run 'aws cloudformation "
            f"continue-update-rollback --stack-name {stack.name}', then this again."
        )


def put(
    region: str, name: str, text: str, parameters: Mapping[str, str], tags: Mapping[str, str], seen: Stack | None
) -> Stack | None:
    """Make a stack, or change it, and wait until it is as told; StackError where it came to nothing.

    ``seen`` is the stack that the parameters were found for: None, and nothing done, where it is another by now.
    """
    cloudformation = aws.client("cloudformation", region)
    before = find(region, name)
    if before is not None and before.is_busy:
        before = waited(region, name)
    if before is not None and (seen is None or (before.id, before.changed) != (seen.id, seen.changed)):
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
    what = f"stack {name}"
    try:
        if before is None:
            aws.ask(cloudformation.create_stack, what, OnFailure="ROLLBACK", **request)
        else:
            aws.ask(cloudformation.update_stack, what, **request)
    except aws.AlreadyExistsError:
        pass  # another run, or a lost answer to this one: it is waited for
    except aws.RefusedError as error:
        if "No updates are to be performed" not in str(error):
            raise
    return waited(region, name, len(templates.parsed(text)["Resources"]), token)


def delete(region: str, stack: Stack) -> None:
    """Take away what is left of a stack that never was."""
    if not stack.is_void:
        raise ValueError(f"{stack.name} is {stack.status}: pokeflow deletes no stack that holds something")
    cloudformation = aws.client("cloudformation", region)
    aws.ask(cloudformation.delete_stack, f"stack {stack.name}", StackName=stack.id)
    for _ in poll():
        now = find(region, stack.id)
        if now is None or now.status == "DELETE_COMPLETE":
            return
        if now.status == "DELETE_FAILED":
            raise PokeflowError(f"stack {stack.name}: cannot be deleted. {_reasons(region, stack.id, '')}")
    raise timeout_error(f"stack {stack.name}")


def waited(region: str, name: str, resources: int = 1, token: str = "") -> Stack:
    """A stack once nobody changes it any more; with the ``token`` of a request, StackError where that failed."""
    with bar(f"stack {name}", resources) as advance:
        done = 0
        for _ in poll():
            stack = find(region, name)
            if stack is None:
                raise PokeflowError(f"stack {name}: vanished while it was waited for. Run this again.")
            if not stack.is_busy:
                if token:
                    _require_made(region, stack, token)
                return stack
            ready = sum(row["ResourceStatus"].endswith("_COMPLETE") for row in _resources(region, stack.id))
            advance(max(0, ready - done), stack.status)
            done = max(done, ready)
    raise timeout_error(f"stack {name}")


def _require_made(region: str, stack: Stack, token: str) -> None:
    """Tell why a request came to nothing, if it did."""
    if not stack.is_void and stack.status != "UPDATE_ROLLBACK_COMPLETE":
        return
    reasons = _reasons(region, stack.id, token)
    if stack.is_void or reasons:
        message = f"stack {stack.name}: came to nothing and was rolled back. {reasons}"
        raise StackError(message, any(sign in reasons for sign in _DENIED))


def poll(patience: float = PATIENCE) -> Iterator[None]:
    """Moments to look again, for so many seconds: soon at first, then every few seconds."""
    began, wait = time.monotonic(), 0.1
    while time.monotonic() - began < patience:
        yield
        time.sleep(wait)
        wait = min(SLOWEST, wait * 1.5)


def timeout_error(what: str) -> PokeflowError:
    """Return the error of a wait that took too long."""
    return PokeflowError(f"{what}: is still being changed after {PATIENCE / 60:.0f} minutes. Run this again later.")


def _token(text: str, parameters: Mapping[str, str], before: Stack | None) -> str:
    """The same for the same wish on the same stack: a request that is sent again is done once."""
    wish = [text, sorted(parameters.items()), before and [before.id, before.changed, before.status]]
    return hashlib.sha256(json.dumps(wish, default=str).encode()).hexdigest()


def _resources(region: str, name: str) -> list[dict[str, Any]]:
    cloudformation = aws.client("cloudformation", region)
    try:
        return list(aws.pages(cloudformation, "list_stack_resources", "StackResourceSummaries", name, StackName=name))
    except aws.AccessDeniedError:
        return []  # it shows how far the stack is, no more


def _reasons(region: str, name: str, token: str) -> str:
    """Return why a stack failed: the first things that did, in AWS's words."""
    cloudformation = aws.client("cloudformation", region)
    try:
        events = list(aws.pages(cloudformation, "describe_stack_events", "StackEvents", name, StackName=name))
    except aws.AccessDeniedError as error:
        return f"Why may not be read. {error}"
    said = []
    for event in events:
        mine = not token or event.get("ClientRequestToken", token) == token
        why = str(event.get("ResourceStatusReason") or "")
        if mine and event["ResourceStatus"].endswith("_FAILED") and why and "cancelled" not in why:
            said.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {aws.clean(why)}")
    return " ".join(dict.fromkeys(reversed(said[-3:])))
