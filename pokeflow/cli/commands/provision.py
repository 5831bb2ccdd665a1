"""What the project needs in the cloud, planned, then made; run again, it changes nothing."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import pokeflow
from pokeflow.cli import _services as services
from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.flow import Flow
from pokeflow.objects import Damaged
from pokeflow.project import _receipts as receipts
from pokeflow.project import _tree as trees
from pokeflow.project._receipts import Receipt
from pokeflow.text import table

STAGE = "provision"
PROJECT_ID = "project_id"
KEEP = "keep"
_ROWS = ("changes", "left")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of tables; changes nothing but with --yes"
    )


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Print the plan, ask, and do it. Exit 1 if something is left that somebody with more rights has to do."""
    flow = pokeflow.load(overrides)
    service = services.service(flow, STAGE)
    facts = services.run(flow, services.asked(service, apply=False)).facts
    if not given.json:
        print(_planned(facts))  # noqa: T201
    todo = any(change["action"] != KEEP for change in facts["changes"])
    if todo and not given.dry_run and (given.yes or (not given.json and _agreed())):
        facts = services.run(flow, services.asked(service, apply=True)).facts
        todo = False
        if not given.json:
            print(_done(facts))  # noqa: T201
    if not todo and not given.dry_run:
        _remember(flow, facts)
    if given.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))  # noqa: T201
    elif not todo:
        print(_told(flow, facts))  # noqa: T201
    return int(bool(facts["left"]) and not given.dry_run)


def _agreed() -> bool:
    """Whether the person at the terminal wants it done; ConfigError where there is none to ask."""
    if not sys.stdin.isatty():
        message = "there is nobody to ask. Give --yes to do it, or --dry-run to see the plan alone."
        raise ConfigError([Fault(STAGE, message)])
    try:
        return input("Do it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _planned(facts: Mapping[str, Any]) -> str:
    rows = [tuple(change[key] for key in ("action", "what", "name", "why")) for change in facts["changes"]]
    parts = [table(("", "what", "name", "why"), rows)]
    if all(change["action"] == KEEP for change in facts["changes"]):
        parts.append("Nothing is to be done.")
    return "\n\n".join([*parts, *_left(facts)])


def _done(facts: Mapping[str, Any]) -> str:
    words = {"create": "created", "update": "updated"}
    rows = [(words[c["action"]], c["what"], c["name"]) for c in facts["changes"] if c["action"] in words]
    return "\n\n".join([table(("", "what", "name"), rows) if rows else "Nothing was changed.", *_left(facts)])


def _left(facts: Mapping[str, Any]) -> list[str]:
    """What these credentials may not do, for somebody who may."""
    if not facts["left"]:
        return []
    items = [
        f"  {item['what']}: {item['why']}" + (f"\n    {item['how']}" if item["how"] else "") for item in facts["left"]
    ]
    return ["\n".join(["left for somebody with the rights:", *items])]


def _told(flow: Flow, facts: Mapping[str, Any]) -> str:
    """What there is by now, and whether YAML and the cloud speak of the same project."""
    about: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in _ROWS:
            about |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    parts = [services.told(about)]
    if flow.about.id and facts.get(PROJECT_ID) and flow.about.id != facts[PROJECT_ID]:
        parts.append(f"project.id: YAML says {flow.about.id}, but the project is {facts[PROJECT_ID]}.")
    return "\n".join(part for part in parts if part)


def _remember(flow: Flow, facts: Mapping[str, Any]) -> None:
    """Leave the project's identity in its tree, where the manifest takes it from."""
    if facts.get(PROJECT_ID) is None or not facts.get("bucket"):
        return
    known = {name: value for name, value in facts.items() if name not in _ROWS and value is not None}
    objects, receipt = trees.of(flow).objects, Receipt(unit=receipts.PROVISION, files=(), facts=known)
    try:
        try:
            receipts.put(objects, receipt)
        except Damaged:
            objects.delete(receipts.key(receipt.unit))  # all that it told is told anew
            receipts.put(objects, receipt)
    except PokeflowError as error:
        raise PokeflowError(
            f"the project is {facts[PROJECT_ID]}, but that could not be left in its tree. Run this again, or set "
            f"project.id={facts[PROJECT_ID]} in YAML. {error}"
        ) from error
