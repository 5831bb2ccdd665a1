"""Makes what a project has on AWS what it should be, a step at a time, and says what it did or would do."""

import dataclasses
from typing import Any

from pokeflow import PokeflowError, Shared
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision.current import CurrentState, read_state
from pokeflow_sagemaker.provision.desired import DesiredState, desired_state
from pokeflow_sagemaker.provision.params import ProvisionParams
from pokeflow_sagemaker.provision.plan import KEEP, Change, left, steps
from pokeflow_sagemaker.provision.stacks import StackError


def run(params: ProvisionParams, shared: Shared | None, *, apply: bool) -> dict[str, Any]:
    """Plan what the project lacks; with ``apply`` make it.

    Args:
        params: whose project it is, and its settings.
        shared: the store, whose bucket, region and encryption are the project's.
        apply: False changes nothing.

    Returns:
        ``changes`` and ``left``, a mapping each; and what the project has by now: ids, ARNs, names.

    """
    desired = desired_state(params, shared)
    current = read_state(desired)
    refused: dict[str, str] = {
        key: current.unknown[key] for key in ("stack", "project", "group") if key in current.unknown
    }
    if apply:
        done, current, refused = _applied(desired, current, refused)
        kept = [c for step in steps(desired, current, refused) for c in step.changes if c.action == KEEP]
        named = {(c.what, c.name) for c in done}
        changes = done + [c for c in kept if (c.what, c.name) not in named]
    else:
        changes = [c for step in steps(desired, current, refused) for c in step.changes]
    rest = left(desired, current, refused)
    return {
        "changes": [dataclasses.asdict(change) for change in changes],
        "left": [dataclasses.asdict(item) for item in rest],
        **_facts(desired, current),
    }


def _applied(
    desired: DesiredState, current: CurrentState, refused: dict[str, str]
) -> tuple[list[Change], CurrentState, dict[str, str]]:
    """Do what is to do and look again, until there is nothing; a step that may not be done is left out."""
    done: dict[str, tuple[Change, ...]] = {}
    while True:
        todo = [step for step in steps(desired, current, refused) if step.do and step.key not in refused]
        if not todo:
            return [change for changes in done.values() for change in changes], current, refused
        for step in todo:
            if step.key in done:
                about = ", ".join(f"{c.what} {c.name} ({c.why})" for c in step.changes)
                raise PokeflowError(f"{about}: was done, and is not so. Is somebody else changing it? Run this again.")
            try:
                assert step.do
                if step.do() is not False:
                    done[step.key] = tuple(change for change in step.changes if change.action != KEEP)
            except aws.AccessDeniedError as error:
                refused = {**refused, step.key: str(error)}
            except StackError as error:
                if not error.denied:
                    raise
                refused = {**refused, step.key: str(error)}
            if not step.small:
                break
        current = read_state(desired)


def _facts(desired: DesiredState, current: CurrentState) -> dict[str, Any]:
    """Describe the project as it is by now, for people and programs."""
    stack, project = current.stands, current.project
    outputs = stack.outputs if stack else {}
    roles = {name.removesuffix("RoleArn").lower(): arn for name, arn in outputs.items() if name.endswith("RoleArn")}
    return {
        "project": desired.name,
        "project_id": project.id if project else None,
        "project_arn": project.arn if project else None,
        "region": desired.region,
        "bucket": desired.bucket if current.bucket else None,
        "key": current.key_arn or (desired.key if desired.key != "own" else "") or None,
        "group": desired.group if current.group else None,
        "stack": stack.name if stack else None,
        "roles": roles or dict(current.roles),
    }
