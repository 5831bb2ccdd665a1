"""The two CloudFormation templates: their text, and their resources for actual parameters."""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from pokeflow_sagemaker.provision.names import AccountRegion

Tree = dict[str, Any]
NOTHING = object()
"""Marker for ``AWS::NoValue``; entries with it are removed."""
_PLACEHOLDER = re.compile(r"\$\{([^!}]+)\}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """YAML loader with CloudFormation's short forms: ``!Ref x`` is ``{Ref: x}``."""


def _construct_short_form(loader: yaml.SafeLoader, name: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt":
        value = str(value).split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _construct_short_form)


@functools.cache
def read_template(name: str) -> str:
    """Return the text of the template ``foundation`` or ``project``."""
    return resources.files("pokeflow_sagemaker.provision").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=4)
def parse_template(text: str) -> Tree:
    """Parse a template; the result is cached, since parsing is slow, and must not be changed."""
    data: Tree = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with CloudFormation's tags
    return data


def resources_of(
    name: str, parameters: Mapping[str, str], location: AccountRegion, attributes: Mapping[str, str] | None = None
) -> Tree:
    """Return the resources that a template creates with these parameters, with references resolved.

    Args:
        name: ``foundation`` or ``project``.
        parameters: Parameters; the template's defaults apply to all others.
        location: Account and region.
        attributes: Attributes that only AWS knows, such as ``OwnKey.Arn``; an unknown one is kept as its own name.

    Raises:
        ValueError: If the template lacks one of the parameters.

    """
    template = parse_template(read_template(name))
    values = {key: str(definition.get("Default", "")) for key, definition in template["Parameters"].items()}
    unknown = set(parameters) - set(values)
    if unknown:
        raise ValueError(f"{name}.yaml has no parameters {sorted(unknown)}")
    reader = _Reader(template, values | dict(parameters), location, attributes or {})
    active = {
        key: definition
        for key, definition in template["Resources"].items()
        if reader.holds(definition.get("Condition"))
    }
    return {
        key: {"Type": definition["Type"], "Properties": reader.read(definition.get("Properties", {}))}
        for key, definition in active.items()
    }


class _Reader:
    """Evaluator of a template's conditions and intrinsic functions for actual parameters."""

    def __init__(
        self, template: Tree, values: Mapping[str, str], location: AccountRegion, attributes: Mapping[str, str]
    ) -> None:
        self.template, self.attributes, self.location = template, attributes, location
        self.values = {
            **values,
            "AWS::AccountId": location.account,
            "AWS::Region": location.region,
            "AWS::Partition": location.partition,
            "AWS::URLSuffix": location.suffix,
        }

    def holds(self, condition: str | None) -> bool:
        """Return whether a named condition holds; None always holds."""
        return condition is None or bool(self.read(self.template["Conditions"][condition]))

    def read(self, part: Any) -> Any:
        """Return a part of the template with all references and functions resolved."""
        if isinstance(part, list):
            return [value for value in map(self.read, part) if value is not NOTHING]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            name, argument = next(iter(part.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return self._evaluate(name, argument)
        values = {key: self.read(value) for key, value in part.items()}
        return {key: value for key, value in values.items() if value is not NOTHING}

    def _evaluate(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._resolve(argument)
        if name == "Fn::Sub":
            return _PLACEHOLDER.sub(lambda match: str(self._resolve(match[1])), argument)
        if name == "Fn::GetAtt":
            return self._attribute(*argument)
        if name == "Fn::If":
            return self.read(argument[1] if self.holds(argument[0]) else argument[2])
        if name == "Fn::Equals":
            return self.read(argument[0]) == self.read(argument[1])
        if name == "Fn::Not":
            return not self.read(argument[0])
        raise ValueError(f"{name} is not a supported intrinsic function")

    def _resolve(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if name in self.values:
            return self.values[name]
        return self._attribute(name, "Ref")

    def _attribute(self, resource: str, attribute: str) -> str:
        key = f"{resource}.{attribute}"
        definition = self.template["Resources"][resource]
        if key not in self.attributes and definition["Type"] == "AWS::IAM::Role" and attribute == "Arn":
            return self.location.role(self.read(definition["Properties"]["RoleName"]))
        return self.attributes.get(key, key)
