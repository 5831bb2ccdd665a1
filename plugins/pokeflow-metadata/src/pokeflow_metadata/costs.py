"""What the published versions cost, by role, and where they were made: the sums of their records' bills."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.project import Receipt, Versions, making, natural, version_name
from pokeflow.project import versions as versions_of
from pokeflow.types import About, Record
from pokeflow_metadata import published
from pokeflow_metadata.fields import fact, first, stated
from pokeflow_metadata.forms.project_manifest import Infrastructure
from pokeflow_metadata.values import Unknown, cost, fill, told

TEACHER, COMPILATION = "teacher_training_cost", "compilation_cost"
ROLES = {
    TEACHER: "teacher",
    "student_stage1_cost": "student of the first stage",
    "student_stage2_cost": "student of the second stage",
    COMPILATION: "compiled model",
}
"""The roles that are always told, and what they are called where none is published."""
CENT = 6
"""Decimals of a sum in US dollars; seconds of a small machine cost less than a cent."""


def cost_tracking(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """The manifest's ``cost_tracking``: sums over all published versions, each making counted once."""
    known = versions_of(receipts)
    parts: dict[str, list[Receipt]] = {role: [] for role in ROLES}
    for receipt in known.values():
        if (role := _role(receipt, known)) is not None:
            parts.setdefault(role, []).append(receipt)
    training = [receipt for role, members in parts.items() if role != COMPILATION for receipt in members]
    sums = {role: _sum(members, ROLES.get(role, "student")) for role, members in sorted(parts.items(), key=_order)}
    # Not as the form: how many generations of students there are, and so how many sums, is for the lineage to say.
    return told({"total_training_cost_usd": _sum(training, "teacher or student"), **sums})


def _order(part: tuple[str, Any]) -> tuple[int, list[tuple[int, int, str]]]:
    role = part[0]
    return (0 if role == TEACHER else 2 if role == COMPILATION else 1, natural(role))


def _role(receipt: Receipt, known: Versions) -> str | None:
    made = making(receipt)
    if receipt.type == "teacher":
        return TEACHER
    if receipt.type == "student":
        return f"student_stage{published.generation(receipt, known)}_cost"
    return COMPILATION if receipt.type == "optimized" or (made and made.stage == "compile") else None


def _sum(receipts: list[Receipt], what: str) -> float | Unknown:
    if not receipts:
        return Unknown(f"no {what} is published")
    billed: dict[tuple[str, str], float] = {}
    for receipt in receipts:
        made = making(receipt)
        if made is None:
            return Unknown(f"{version_name(receipt)}: {published.untold(receipt)}")
        amount = cost(made)
        if isinstance(amount, Unknown):
            return Unknown(f"{version_name(receipt)}: {amount.reason}")
        billed[made.digest, made.started] = amount
    return round(sum(billed.values()), CENT)


def infrastructure(about: About, newest: Mapping[str, Receipt]) -> Infrastructure:
    """The manifest's ``infrastructure``: where the tree lies and the machines that made the newest versions."""
    local = Unknown("the tree lies in a local folder")
    return fill(
        Infrastructure,
        {
            "s3_bucket": about.bucket or local,
            "region": about.region or (Unknown("no region is configured") if about.bucket else local),
            "training_instance": _instances(about, newest, ("train", "distill"), "trained"),
            "compilation_instance": _instances(about, newest, ("compile",), "compiled"),
        },
    )


def _instances(about: About, newest: Mapping[str, Receipt], stages: tuple[str, ...], done: str) -> str | Unknown:
    """The instance types, in the order of the models; Unknown where one is not recorded."""
    makings = [made for receipt in newest.values() if (made := making(receipt)) and made.stage in stages]
    if not makings:
        return Unknown(f"no published model was {done} here")
    found: list[str] = []
    for made in makings:
        instance = _instance(about, made)
        if isinstance(instance, Unknown):
            return instance
        found.append(instance)
    return ", ".join(dict.fromkeys(found))


def _instance(about: About, made: Record) -> Any:
    instance = first(fact(made, "instance_type"), stated(about.executors.get(made.executor, {}), "instance_type"))
    if isinstance(instance, Unknown):
        return Unknown(f"{made.task} was made by executor {made.executor!r}, which records no instance type")
    return instance
