"""Queries on the published versions: parents, teachers, generations, training approaches and folders."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.project import DATA, PROVISION, Receipt, Versions, producing_record, version_name
from pokeflow.stages import PREPARE
from pokeflow.types import Record
from pokeflow_metadata.fields import first, first_stated
from pokeflow_metadata.values import Unknown

APPROACHES = {"task": "task_specific_finetuning", "": "knowledge_distillation"}
"""Training approach by the name of a loss with a weight; the empty name stands for any other loss."""


def project_id(receipts: Iterable[Receipt]) -> str | None:
    """Return the id that the cloud assigned to the project, or None if it is not provisioned."""
    value = next((receipt.facts.get("project_id") for receipt in receipts if receipt.unit == PROVISION), None)
    return value if isinstance(value, str) and value else None


def data(receipts: Iterable[Receipt]) -> tuple[Receipt, Record] | None:
    """Return the receipt of the links to the data set and the record that produced it, or None."""
    for receipt in receipts:
        if receipt.unit == DATA:
            prepared = next((record for record in receipt.records if record.stage == PREPARE), None)
            return (receipt, prepared) if prepared else None
    return None


def read(record: Record, model: str) -> str | None:
    """Return the content checksum of ``model`` among the inputs of a task, or None if it is not an input."""
    return next((content for task, content in record.inputs.items() if task.partition(":")[2] == model), None)


def relative(receipt: Receipt, key: str, all_versions: Versions) -> Receipt | Unknown:
    """Return the published version ``key``, unless this version was produced from another content of it.

    Args:
        receipt: The version.
        key: Name of its parent, <model>:<version>.
        all_versions: All published versions.

    Returns:
        The parent's receipt; Unknown if it is not published, or is published with another content.

    """
    if key not in all_versions:
        return Unknown(f"{key} is not published")
    producer, parent = producing_record(receipt), all_versions[key]
    input_content = read(producer, parent.model) if producer else None
    if input_content and parent.content and input_content != parent.content:
        return Unknown(
            f"{version_name(receipt)} was produced from {parent.model} {input_content}, but {key} is published with "
            "another content"
        )
    return parent


def parent(receipt: Receipt, all_versions: Versions) -> Receipt | Unknown:
    """Return the published parent of a version in the lineage, or Unknown with the reason."""
    if not receipt.parents:
        return Unknown(unrecorded_reason(receipt) if receipt.origin else NO_PARENT)
    return relative(receipt, receipt.parents[0], all_versions)


def teacher(receipt: Receipt, all_versions: Versions) -> Receipt | Unknown:
    """Return the nearest published teacher among the ancestors of a version, or Unknown with the reason."""
    missing: Unknown | None = None
    pending, visited = [receipt], {version_name(receipt)}
    while pending:
        child = pending.pop(0)
        for of in child.parents:
            ancestor = relative(child, of, all_versions)
            if isinstance(ancestor, Unknown):
                missing = missing or ancestor
            elif ancestor.type == "teacher":
                return ancestor
            elif version_name(ancestor) not in visited:
                visited.add(version_name(ancestor))
                pending.append(ancestor)
    return missing or Unknown("it descends from no teacher")


def generation(receipt: Receipt, all_versions: Versions) -> int:
    """Return the distillation stage of a student: 1 if its parent is not a student, else 1 more than its parent's."""
    number, visited = 1, {version_name(receipt)}
    while receipt.parents and (above := all_versions.get(receipt.parents[0])) and version_name(above) not in visited:
        if above.type != "student":
            break
        number, receipt = number + 1, above
        visited.add(version_name(above))
    return number


def approach(receipt: Receipt) -> str | Unknown:
    """Return the training approach of a student, from the weights of its losses.

    For a migrated version it is the approach that was stated at the migration; Unknown if neither is available.
    """
    producer = producing_record(receipt)
    return (
        approach_of(producer)
        if producer
        else first(first_stated(receipt.facts, "training_approach", form=_known_approach))
    )


def approach_of(producer: Record) -> str | Unknown:
    """Return the training approach of a distillation, from the weights of its losses."""
    losses: Any = producer.params.get("losses")
    if not isinstance(losses, Mapping) or not losses:
        return Unknown(f"the parameters of {producer.task} name no losses")
    weighted = [loss for loss, weight in losses.items() if weight]
    return next((APPROACHES[loss] for loss in weighted if loss in APPROACHES), APPROACHES[""])


def _known_approach(text: str) -> str:
    if text not in APPROACHES.values():
        raise ValueError(text)
    return text


def folder(receipt: Receipt) -> str | Unknown:
    """Return the folder of a version relative to the root of the published tree, ending in ``/``.

    It is the first folder that is named like the version on the path of one of its files; files below ``models/``
    are tried first.
    """
    paths = sorted(file.path for file in receipt.files if file.fixed)
    # models/ contains the version itself; its checkpoints and profiles are in other folders.
    for path in sorted(paths, key=lambda path: not path.startswith("models/")):
        parts = path.split("/")[:-1]
        if receipt.version in parts:
            return "/".join(parts[: parts.index(receipt.version) + 1]) + "/"
    return Unknown("none of its files is in a folder of this version")


def unrecorded_reason(receipt: Receipt) -> str:
    """Return the reason for values of a version that no record contains."""
    return f"migrated from {receipt.origin}; not recorded" if receipt.origin else "not recorded"


NO_PARENT = "it has no parent"
