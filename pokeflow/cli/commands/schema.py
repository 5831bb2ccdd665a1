"""Command ``schema``, which writes JSON Schemas of the configuration, so that editors complete and validate it."""

import argparse
import json
from pathlib import Path
from typing import Any

from pokeflow import plugins
from pokeflow.config import conf_dir, settings, shipped_conf
from pokeflow.plugins import Registry
from pokeflow.schema import SCHEMA, json_schemas, or_interpolation
from pokeflow.stages import PREPARE, TRACK
from pokeflow.types import load_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, default=Path(".schema"), help="folder to write to (default .schema)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Write a JSON Schema for each group with a known structure, including that of the installed plugins."""
    folder: Path = args.out
    folder.mkdir(parents=True, exist_ok=True)
    schemas = all_schemas(plugins.registry(plugins.manager()))
    for group, schema in schemas.items():
        (folder / f"{group}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    patterns = {f"{folder}/{group}.json": f"conf/{group}/*.yaml" for group in schemas}
    print(f"{folder}: {len(schemas)} schemas written. For an editor with the YAML language server:")
    print(json.dumps({"yaml.schemas": patterns}, indent=2))
    return 0


def all_schemas(registry: Registry) -> dict[str, dict[str, Any]]:
    """Return a JSON Schema 2020-12 by group; parameters are typed by the backend that the YAML names."""
    kinds = [*settings.GROUPS.values(), *(load_params(backend) for backend in registry.backends.values())]
    references, definitions = json_schemas(kinds)
    schemas = dict(zip(settings.GROUPS, references[: len(settings.GROUPS)], strict=True))
    params = dict(zip(registry.backends, references[len(settings.GROUPS) :], strict=True))
    for stage in registry.stages:
        definitions[f"stage {stage}"] = _stage_settings(stage, params, definitions["StageSettings"])
    target, lineage, model = definitions["Target"], definitions["Lineage"], definitions["Model"]
    for stage in ("compile", "benchmark"):
        target["properties"][stage] = or_interpolation(_reference(f"stage {stage}"))
    later = {
        stage: or_interpolation({"anyOf": [_reference(f"stage {stage}"), {"type": "null"}]})
        for stage in registry.stages
    }
    for owner in (lineage, model):
        owner["properties"]["post_stages"] = {"type": "object", "properties": later, "additionalProperties": False}
    model["allOf"] = [
        _when({"stage": stage, "backend": name}, {"properties": {"params": or_interpolation(reference)}})
        for (stage, name), reference in params.items()
    ]
    model["properties"]["stage"] = or_interpolation({"enum": registry.stages})
    model["properties"]["type"] |= {"examples": model_types()}
    for group, stage in (("data", PREPARE), ("tracking", TRACK)):
        schemas[group] = _group_schema(stage, params, definitions)
    return {
        group: {"$schema": SCHEMA, "title": f"pokeflow {group}", **schema, "$defs": definitions}
        for group, schema in schemas.items()
    }


def model_types() -> list[str]:
    """Return the model types in the lineages of this folder and of pokeflow, for an editor to suggest."""
    import yaml

    names = set()
    for file in {file for folder in (conf_dir(), shipped_conf()) for file in folder.glob("lineage/*.yaml")}:
        try:
            models = yaml.safe_load(file.read_bytes())["models"].values()
        except (yaml.YAMLError, KeyError, TypeError, AttributeError):
            continue  # composition reports what is wrong with the file
        names |= {str(model["type"]) for model in models if isinstance(model, dict) and "type" in model}
    return sorted(names)


Params = dict[tuple[str, str], dict[str, Any]]


def _stage_settings(stage: str, params: Params, base: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a backend and its parameters below a key that names the stage."""
    names = [name for owner, name in params if owner == stage]
    rules = [_when({"backend": n}, {"properties": {"params": or_interpolation(params[stage, n])}}) for n in names]
    return {**base, "properties": {**base["properties"], "backend": or_interpolation({"enum": names})}, "allOf": rules}


def _group_schema(stage: str, params: Params, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a group that holds a backend's name and, as further keys, its parameters."""
    schema: dict[str, Any] = {"type": "object", "properties": {}, "allOf": []}
    names = [name for owner, name in params if owner == stage]
    schema["properties"]["backend"] = {"enum": [*names, None]}
    for name in names:
        executor = definitions["StageSettings"]["properties"]["executor"] if stage == PREPARE else None
        definition = definitions[params[stage, name]["$ref"].rpartition("/")[2]]
        siblings = {"backend": {"const": name}, **({"executor": executor} if executor else {})}
        definitions[f"{stage} {name}"] = {**definition, "properties": {**siblings, **definition["properties"]}}
        schema["allOf"].append(_when({"backend": name}, _reference(f"{stage} {name}")))
    return schema


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _when(condition: dict[str, str], then: dict[str, Any]) -> dict[str, Any]:
    properties = {key: {"const": value} for key, value in condition.items()}
    return {"if": {"properties": properties, "required": list(condition)}, "then": then}
