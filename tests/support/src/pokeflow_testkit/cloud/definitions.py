"""Pipelines' definitions: what SageMaker refuses of one, and what its references stand for."""

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
    """A definition that is refused."""
    return invalid(f"Unable to parse pipeline definition. {sentence}")


def steps_of(steps: list[Row]) -> Iterator[Row]:
    """Every step, also those in the branches of conditions."""
    for step in steps:
        yield step
        if step.get("Type") == "Condition":
            arguments = step.get("Arguments", {})
            yield from steps_of([*arguments.get("IfSteps", ()), *arguments.get("ElseSteps", ())])


def references(value: Any) -> Iterator[str]:
    """What a value refers to by Get."""
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
    """A definition that SageMaker would take."""
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
        found = list(violations(input_shape("sagemaker", operation), {**step["Arguments"], **named}, loose=True))
        if found:
            raise wrong(f"Step {name}: {complaint(found)}")


def needed(step: Row) -> set[str]:
    """The steps that must be over before this one."""
    found = set(step.get("DependsOn") or ())
    for reference in references(step.get("Arguments", {})):
        if reference.startswith("Steps."):
            found.add(re.split(r"[.\[]", reference.removeprefix("Steps."))[0])
    within = list(steps_of([step]))[1:]
    return found.union(*map(needed, within)) - {inner["Name"] for inner in within}


def ordered(steps: list[Row]) -> list[Row]:
    """Steps in an order in which each comes after what it needs of these."""
    left, done, out = list(steps), set[str](), list[Row]()
    here = {step["Name"] for step in steps}
    while left:
        ready = [step for step in left if not (needed(step) & here) - done]
        if not ready:
            raise wrong(f"The steps depend on one another in a cycle: {', '.join(s['Name'] for s in left)}.")
        for step in ready:
            left.remove(step)
            done.add(step["Name"])
        out += ready
    return out


def _check_order(steps: list[Row]) -> None:
    ordered([{**s, "DependsOn": [*needed(s)], "Arguments": {}} for s in steps])


def parameter_values(definition: Row, given: list[Row]) -> Row:
    """The parameters of an execution."""
    known = {parameter["Name"]: parameter for parameter in definition.get("Parameters") or ()}
    if strange := {g["Name"] for g in given} - known.keys():
        raise invalid(f"Parameters {sorted(strange)} are not defined in the pipeline.")
    told = {g["Name"]: g["Value"] for g in given}
    values: Row = {}
    for name, parameter in known.items():
        value = told.get(name, parameter.get("DefaultValue"))
        if value is None:
            raise invalid(f"Parameter {name} has no value and no default.")
        try:
            values[name] = PARAMETERS[parameter["Type"]](value)
        except (ValueError, KeyError) as error:
            raise invalid(f"Parameter {name} must be of type {parameter['Type']}: {value!r}.") from error
        if (allowed := parameter.get("EnumValues")) and value not in allowed:
            raise invalid(f"Parameter {name} must be one of {allowed}: {value!r}.")
    return values


def reached(value: Any, path: str) -> Any:
    """What a path leads to in a description: names, numbers, and names of a list's members."""
    for plain, bracketed in PATH.findall(path):
        key = plain or bracketed
        if isinstance(value, dict):
            value = value[key]
        elif key.isdigit():
            value = value[int(key)]
        else:
            value = next(v for v in value if key in [n for k, n in v.items() if k.endswith("Name")])
    return value
