"""Costs of the published versions by role, summed from their records, and the machines that produced them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.project import Receipt, Versions, producing_record, version_name, version_sort_key
from pokeflow.project import versions as versions_of
from pokeflow.types import About, Record
from pokeflow_metadata import published
from pokeflow_metadata.fields import fact, first, first_stated
from pokeflow_metadata.forms.project_manifest import Infrastructure
from pokeflow_metadata.values import Unknown, cost, fill, with_reasons

TEACHER, COMPILATION = "teacher_training_cost", "compilation_cost"
ROLES = {
    TEACHER: "teacher",
    "student_stage1_cost": "student of the first stage",
    "student_stage2_cost": "student of the second stage",
    COMPILATION: "compiled model",
}
"""Roles that the document always contains, and their names in the reason if no such version is published."""
CENT = 6
"""Decimals of a sum in US dollars, because seconds of a small machine cost less than a cent."""


def cost_tracking(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Build the manifest's ``cost_tracking``: sums in US dollars over all published versions, by role.

    A run that produced several versions is counted once. A sum is unknown if the cost of any part is unknown.
    """
    all_versions = versions_of(receipts)
    parts: dict[str, list[Receipt]] = {role: [] for role in ROLES}
    for receipt in all_versions.values():
        if (role := _role(receipt, all_versions)) is not None:
            parts.setdefault(role, []).append(receipt)
    training = [receipt for role, members in parts.items() if role != COMPILATION for receipt in members]
    sums = {role: _sum(members, ROLES.get(role, "student")) for role, members in sorted(parts.items(), key=_order)}
    # A plain dict instead of the form: the number of sums depends on the generations of students in the lineage.
    return with_reasons({"total_training_cost_usd": _sum(training, "teacher or student"), **sums})


def _order(part: tuple[str, Any]) -> tuple[int, list[tuple[int, int, str]]]:
    role = part[0]
    return (0 if role == TEACHER else 2 if role == COMPILATION else 1, version_sort_key(role))


def _role(receipt: Receipt, all_versions: Versions) -> str | None:
    producer = producing_record(receipt)
    if receipt.type == "teacher":
        return TEACHER
    if receipt.type == "student":
        return f"student_stage{published.generation(receipt, all_versions)}_cost"
    return COMPILATION if receipt.type == "optimized" or (producer and producer.stage == "compile") else None


def _sum(receipts: list[Receipt], label: str) -> float | Unknown:
    if not receipts:
        return Unknown(f"no {label} is published")
    costs: dict[tuple[str, str], float] = {}
    for receipt in receipts:
        producer = producing_record(receipt)
        if producer is None:
            return Unknown(f"{version_name(receipt)}: {published.unrecorded_reason(receipt)}")
        amount = cost(producer)
        if isinstance(amount, Unknown):
            return Unknown(f"{version_name(receipt)}: {amount.reason}")
        costs[producer.digest, producer.started] = amount
    return round(sum(costs.values()), CENT)


def infrastructure(about: About, newest: Mapping[str, Receipt]) -> Infrastructure:
    """Build the manifest's ``infrastructure``: bucket, region, and machines that produced the newest versions."""
    local = Unknown("the published tree is in a local folder")
    return fill(
        Infrastructure,
        {
            "s3_bucket": about.bucket or local,
            "region": about.region or (Unknown("no region is configured") if about.bucket else local),
            "training_instance": _instances(about, newest, ("train", "distill"), "trained"),
            "compilation_instance": _instances(about, newest, ("compile",), "compiled"),
        },
    )


def _instances(about: About, newest: Mapping[str, Receipt], stages: tuple[str, ...], action: str) -> str | Unknown:
    """Return the distinct instance types in the order of the models; Unknown if any of them is not recorded."""
    producers = [
        producer for receipt in newest.values() if (producer := producing_record(receipt)) and producer.stage in stages
    ]
    if not producers:
        return Unknown(f"no published model was {action} here")
    instances: list[str] = []
    for producer in producers:
        instance = _instance(about, producer)
        if isinstance(instance, Unknown):
            return instance
        instances.append(instance)
    return ", ".join(dict.fromkeys(instances))


def _instance(about: About, producer: Record) -> Any:
    instance = first(
        fact(producer, "instance_type"), first_stated(about.executors.get(producer.executor, {}), "instance_type")
    )
    if isinstance(instance, Unknown):
        return Unknown(
            f"{producer.task} was produced by executor {producer.executor!r}, which records no instance type"
        )
    return instance
