"""Command ``pokeflow provision``: plans and creates the project's cloud resources; a second run changes nothing."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import pokeflow
from pokeflow import ConfigError, Fault, PokeflowError
from pokeflow.flow import Flow
from pokeflow.text import format_facts, table
from pokeflow_sagemaker.commands.options import params_of

NAME = "provision"
PROJECT_ID = "project_id"
KEEP = "keep"
_ROWS = ("changes", "left")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("--dry-run", action="store_true", help="print the plan without changing anything")
    parser.add_argument("--yes", action="store_true", help="apply the plan without confirmation")
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of tables; applies the plan only together with --yes"
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Print the plan, ask, and apply it; return 1 if changes are left for a user with more rights."""
    from pokeflow_sagemaker.provision import run as provision

    flow = pokeflow.load(overrides)
    params = params_of(flow, NAME)
    facts = provision.run(params, flow.remote_store, apply=False)
    if not arguments.json:
        print(_format_plan(facts))
    todo = any(change["action"] != KEEP for change in facts["changes"])
    if todo and not arguments.dry_run and (arguments.yes or (not arguments.json and _confirm())):
        facts = provision.run(params, flow.remote_store, apply=True)
        todo = False
        if not arguments.json:
            print(_format_result(facts))
    if not todo and not arguments.dry_run:
        _publish_identity(flow, facts)
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    elif not todo:
        print(_summary(flow, facts))
    return int(bool(facts["left"]) and not arguments.dry_run)


def _confirm() -> bool:
    """Ask the user whether to apply the plan; raise a ConfigError if stdin is not a terminal."""
    if not sys.stdin.isatty():
        message = "stdin is not a terminal. Pass --yes to apply the plan, or --dry-run to print it."
        raise ConfigError([Fault(NAME, message)])
    try:
        return input("Apply these changes? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _format_plan(facts: Mapping[str, Any]) -> str:
    rows = [tuple(change[key] for key in ("action", "what", "name", "why")) for change in facts["changes"]]
    parts = [table(("", "what", "name", "why"), rows)]
    if all(change["action"] == KEEP for change in facts["changes"]):
        parts.append("No changes are needed.")
    return "\n\n".join([*parts, *_format_leftovers(facts)])


def _format_result(facts: Mapping[str, Any]) -> str:
    words = {"create": "created", "update": "updated"}
    rows = [(words[c["action"]], c["what"], c["name"]) for c in facts["changes"] if c["action"] in words]
    return "\n\n".join(
        [table(("", "what", "name"), rows) if rows else "Nothing was changed.", *_format_leftovers(facts)]
    )


def _format_leftovers(facts: Mapping[str, Any]) -> list[str]:
    """Format the changes that these credentials have no right to apply, for a user with the rights."""
    if not facts["left"]:
        return []
    items = [
        f"  {item['what']}: {item['why']}" + (f"\n    {item['how']}" if item["how"] else "") for item in facts["left"]
    ]
    return ["\n".join(["changes that need more permissions:", *items])]


def _summary(flow: Flow, facts: Mapping[str, Any]) -> str:
    """Format the project's current resources, and a note if the project id in YAML is another one."""
    rows: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in _ROWS:
            rows |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    parts = [format_facts(rows)]
    if flow.about.id and facts.get(PROJECT_ID) and flow.about.id != facts[PROJECT_ID]:
        parts.append(
            f"project.id: the YAML has {flow.about.id}, but the project's id is {facts[PROJECT_ID]}. Correct the YAML."
        )
    return "\n".join(part for part in parts if part)


def _publish_identity(flow: Flow, facts: Mapping[str, Any]) -> None:
    """Publish the project's identity in its tree, from which the manifest reads it."""
    if facts.get(PROJECT_ID) is None or not facts.get("bucket"):
        return
    identity = {name: value for name, value in facts.items() if name not in _ROWS and value is not None}
    try:
        pokeflow.publish_facts(flow, NAME, identity)
    except PokeflowError as error:
        raise PokeflowError(
            f"the id of the project is {facts[PROJECT_ID]}, but it could not be published. Run the same command again, "
            f"or set project.id={facts[PROJECT_ID]} in YAML. {error}"
        ) from error
