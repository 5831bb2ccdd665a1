"""Planning and step-by-step application of the changes that a project needs on AWS."""

import dataclasses
from typing import Any

from pokeflow import PokeflowError, RemoteStore
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision.current import CurrentState, read_state
from pokeflow_sagemaker.provision.desired import DesiredState, desired_state
from pokeflow_sagemaker.provision.params import ProvisionParams
from pokeflow_sagemaker.provision.plan import KEEP, Change, remaining, steps
from pokeflow_sagemaker.provision.stacks import StackError


def run(params: ProvisionParams, remote_store: RemoteStore | None, *, apply: bool) -> dict[str, Any]:
    """Plan the changes that the project needs, and apply them if ``apply`` is set.

    Args:
        params: Name and settings of the project.
        remote_store: The store; its bucket, region and encryption are those of the project.
        apply: Whether to apply the changes; False changes nothing.

    Returns:
        ``changes`` and ``left``, each a list of mappings; and ids, ARNs and names of the project's current resources.

    """
    desired = desired_state(params, remote_store)
    current = read_state(desired)
    refused: dict[str, str] = {
        key: current.unknown[key] for key in ("stack", "project", "group") if key in current.unknown
    }
    if apply:
        applied_changes, current, refused = _apply(desired, current, refused)
        unchanged = [c for step in steps(desired, current, refused) for c in step.changes if c.action == KEEP]
        applied = {(c.what, c.name) for c in applied_changes}
        changes = applied_changes + [c for c in unchanged if (c.what, c.name) not in applied]
    else:
        changes = [c for step in steps(desired, current, refused) for c in step.changes]
    leftovers = remaining(desired, current, refused)
    return {
        "changes": [dataclasses.asdict(change) for change in changes],
        "left": [dataclasses.asdict(item) for item in leftovers],
        **_facts(desired, current),
    }


def _apply(
    desired: DesiredState, current: CurrentState, refused: dict[str, str]
) -> tuple[list[Change], CurrentState, dict[str, str]]:
    """Apply the steps and read the state again until none is left, without the steps that AWS denies.

    Returns:
        The applied changes, the current state, and the reasons for the denied steps by key.

    Raises:
        PokeflowError: If an applied step is still necessary afterwards.

    """
    done: dict[str, tuple[Change, ...]] = {}
    while True:
        todo = [step for step in steps(desired, current, refused) if step.do and step.key not in refused]
        if not todo:
            return [change for changes in done.values() for change in changes], current, refused
        for step in todo:
            if step.key in done:
                description = ", ".join(f"{c.what} {c.name} ({c.why})" for c in step.changes)
                raise PokeflowError(
                    f"{description}: was applied, but another process changed it. Run the same command again."
                )
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
    """Return ids, ARNs and names of the project's current resources."""
    stack, project = current.usable_stack, current.project
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
