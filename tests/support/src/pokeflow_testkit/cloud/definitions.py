"""Pipelines' definitions: validation as by SageMaker, and resolution of references."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .state import AwsError, Row, invalid
from .validation import complaint, input_shape, violations

CALLS = {
    "Training": ("CreateTrainingJob", "TrainingJobName"),
    "Processing": ("CreateProcessingJob", "ProcessingJobName"),
    "Transform": ("CreateTransformJob", "TransformJobName"),
    "Model": ("CreateModel", "ModelName"),
    "RegisterModel": ("CreateModelPackage", ""),
    "EndpointConfig": ("CreateEndpointConfig", "EndpointConfigName"),
    "Endpoint": ("CreateEndpoint", ""),
}
"""The operation that each type of step calls, and the member of its request that is the name."""
KNOWN = {*CALLS, "Condition", "Fail"}
MEMBERS = {
    *("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description", "PropertyFiles", "CacheConfig"),
    *("RetryPolicies",),
}
PARAMETERS: Mapping[str, Callable[[Any], Any]] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": lambda value: {"true": True, "false": False}[str(value).lower()],
}
STEP = re.compile(r"[A-Za-z0-9\-_]{1,64}")
PATH = re.compile(r"\.?([A-Za-z0-9_\-]+)|\[['\"]?([^'\"\]]+)['\"]?\]")


def wrong(sentence: str) -> AwsError:
    """Return the error for a wrong definition."""
    return invalid(f"Unable to parse pipeline definition. {sentence}")


def steps_of(steps: list[Row]) -> Iterator[Row]:
    """Yield every step, with those in the branches of conditions."""
    for step in steps:
        yield step
        if step.get("Type") == "Condition":
            arguments = step.get("Arguments", {})
            yield from steps_of([*arguments.get("IfSteps", ()), *arguments.get("ElseSteps", ())])


def references(value: Any) -> Iterator[str]:
    """Yield the references (Get) in a value."""
    if isinstance(value, dict):
        if isinstance(value.get("Get"), str) and len(value) == 1:
            yield value["Get"]
        else:
            for name, part in value.items():
                if name not in ("IfSteps", "ElseSteps"):
                    yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def parse(text: str) -> Row:
    """Parse a definition, and refuse one that SageMaker would refuse."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise wrong(f"It is not JSON: {error}") from error
    if not isinstance(definition, dict) or definition.get("Version") != "2020-12-01":
        raise wrong("Version must be 2020-12-01.")
    steps = list(steps_of(definition.get("Steps") or []))
    if not steps:
        raise wrong("Steps must not be empty.")
    names = [step.get("Name", "") for step in steps]
    if twice := [name for name in names if names.count(name) > 1]:
        raise wrong(f"Step names must be unique: {twice[0]}.")
    parameters = [parameter["Name"] for parameter in definition.get("Parameters") or ()]
    for step in steps:
        _check_step(step, steps, parameters)
    _check_order(steps)
    return definition


def _check_step(step: Row, steps: list[Row], parameters: list[str]) -> None:  # noqa: PLR0912 - one for each refusal
    name, kind = step.get("Name", ""), step.get("Type")
    if not STEP.fullmatch(name):
        raise wrong(f"Step name {name!r} must match {STEP.pattern}.")
    if kind not in KNOWN:
        raise AwsError("NotInTheTestCloud", f"Steps of type {kind}: add them to pokeflow_testkit/cloud/definitions.py")
    if strange := step.keys() - MEMBERS:
        raise wrong(f"Step {name} has an unknown member {sorted(strange)[0]}.")
    by_name = {s["Name"]: s for s in steps}
    for wanted in step.get("DependsOn") or ():
        if wanted not in by_name:
            raise wrong(f"Step {name} depends on {wanted}, which is not there.")
    for reference in references(step.get("Arguments", {})):
        where, _, rest = reference.partition(".")
        target = re.split(r"[.\[]", rest)[0]
        if where == "Steps" and target not in by_name:
            raise wrong(f"Step {name} refers to step {target}, which is not there.")
        if where == "Parameters" and target not in parameters:
            raise wrong(f"Step {name} refers to parameter {target}, which is not there.")
        if where not in ("Steps", "Parameters", "Execution"):
            raise wrong(f"Step {name} refers to {reference}: Steps, Parameters and Execution are known.")
        if where == "Steps" and ".PropertyFiles." in reference:
            files = [file["PropertyFileName"] for file in by_name[target].get("PropertyFiles") or ()]
            if reference.rpartition(".")[2] not in files:
                raise wrong(f"Step {target} has no property file {reference.rpartition('.')[2]}.")
    if kind in CALLS:
        operation, member = CALLS[kind]
        named = {member: "name"} if member else {}
        broken = list(violations(input_shape("sagemaker", operation), {**step["Arguments"], **named}, loose=True))
        if broken:
            raise wrong(f"Step {name}: {complaint(broken)}")


def needs_of(step: Row) -> set[str]:
    """Return the names of the steps that must finish before this one."""
    names = set(step.get("DependsOn") or ())
    for reference in references(step.get("Arguments", {})):
        if reference.startswith("Steps."):
            names.add(re.split(r"[.\[]", reference.removeprefix("Steps."))[0])
    within = list(steps_of([step]))[1:]
    return names.union(*map(needs_of, within)) - {inner["Name"] for inner in within}


def order_steps(steps: list[Row]) -> list[Row]:
    """Return the steps in an order in which each comes after those that it needs."""
    left, done, out = list(steps), set[str](), list[Row]()
    here = {step["Name"] for step in steps}
    while left:
        ready = [step for step in left if not (needs_of(step) & here) - done]
        if not ready:
            raise wrong(f"The steps depend on one another in a cycle: {', '.join(s['Name'] for s in left)}.")
        for step in ready:
            left.remove(step)
            done.add(step["Name"])
        out += ready
    return out


def _check_order(steps: list[Row]) -> None:
    order_steps([{**s, "DependsOn": [*needs_of(s)], "Arguments": {}} for s in steps])


def parameter_values(definition: Row, assigned: list[Row]) -> Row:
    """Return the values of an execution's parameters."""
    known = {parameter["Name"]: parameter for parameter in definition.get("Parameters") or ()}
    if strange := {g["Name"] for g in assigned} - known.keys():
        raise invalid(f"Parameters {sorted(strange)} are not defined in the pipeline.")
    by_name = {g["Name"]: g["Value"] for g in assigned}
    values: Row = {}
    for name, parameter in known.items():
        value = by_name.get(name, parameter.get("DefaultValue"))
        if value is None:
            raise invalid(f"Parameter {name} has no value and no default.")
        try:
            values[name] = PARAMETERS[parameter["Type"]](value)
        except (ValueError, KeyError) as error:
            raise invalid(f"Parameter {name} must be of type {parameter['Type']}: {value!r}.") from error
        if (allowed := parameter.get("EnumValues")) and value not in allowed:
            raise invalid(f"Parameter {name} must be one of {allowed}: {value!r}.")
    return values


def follow_path(value: Any, path: str) -> Any:
    """Return the value at a path in a description: names, numbers, and names of a list's members."""
    for plain, bracketed in PATH.findall(path):
        key = plain or bracketed
        if isinstance(value, dict):
            value = value[key]
        elif key.isdigit():
            value = value[int(key)]
        else:
            value = next(v for v in value if key in [n for k, n in v.items() if k.endswith("Name")])
    return value
