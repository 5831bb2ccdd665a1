"""Who is whose parent among the published versions, and which record tells what of a version."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.project import DATA, PROVISION, Receipt, Versions, making, version_name
from pokeflow.stages import PREPARE
from pokeflow.types import Record
from pokeflow_metadata.fields import first, stated
from pokeflow_metadata.values import Unknown

APPROACHES = {"task": "task_specific_finetuning", "": "knowledge_distillation"}
"""By the loss whose weight tells it; the empty name stands for any other loss."""


def project_id(receipts: Iterable[Receipt]) -> str | None:
    """The id that the cloud gave the project, if it is provisioned."""
    told = next((receipt.facts.get("project_id") for receipt in receipts if receipt.unit == PROVISION), None)
    return told if isinstance(told, str) and told else None


def data(receipts: Iterable[Receipt]) -> tuple[Receipt, Record] | None:
    """The receipt of the data set's links and the record that made it."""
    for receipt in receipts:
        if receipt.unit == DATA:
            made = next((record for record in receipt.records if record.stage == PREPARE), None)
            return (receipt, made) if made else None
    return None


def read(record: Record, model: str) -> str | None:
    """The content of a model that a task read; None where it read none."""
    return next((content for task, content in record.inputs.items() if task.partition(":")[2] == model), None)


def relative(receipt: Receipt, of: str, known: Versions) -> Receipt | Unknown:
    """A parent by name, if the published one is what this version was made from."""
    if of not in known:
        return Unknown(f"{of} is not published")
    made, parent = making(receipt), known[of]
    used = read(made, parent.model) if made else None
    if used and parent.content and used != parent.content:
        return Unknown(f"{version_name(receipt)} was made from {parent.model} {used}, and {of} is published as another")
    return parent


def parent(receipt: Receipt, known: Versions) -> Receipt | Unknown:
    """The parent in the lineage."""
    if not receipt.parents:
        return Unknown(untold(receipt) if receipt.origin else NO_PARENT)
    return relative(receipt, receipt.parents[0], known)


def teacher(receipt: Receipt, known: Versions) -> Receipt | Unknown:
    """The nearest teacher that it descends from, itself left out."""
    missed: Unknown | None = None
    waiting, seen = [receipt], {version_name(receipt)}
    while waiting:
        child = waiting.pop(0)
        for of in child.parents:
            found = relative(child, of, known)
            if isinstance(found, Unknown):
                missed = missed or found
            elif found.type == "teacher":
                return found
            elif version_name(found) not in seen:
                seen.add(version_name(found))
                waiting.append(found)
    return missed or Unknown("it descends from no teacher")


def generation(receipt: Receipt, known: Versions) -> int:
    """Which stage of distillation a student is: 1 where its parent is no student."""
    number, seen = 1, {version_name(receipt)}
    while receipt.parents and (above := known.get(receipt.parents[0])) and version_name(above) not in seen:
        if above.type != "student":
            break
        number, receipt = number + 1, above
        seen.add(version_name(above))
    return number


def approach(receipt: Receipt) -> str | Unknown:
    """How a student was taught: by the weights of its losses; of a migrated one, what was told of it."""
    made = making(receipt)
    return taught(made) if made else first(stated(receipt.facts, "training_approach", form=_known_approach))


def taught(made: Record) -> str | Unknown:
    """How a student was taught, by the weights of its losses."""
    losses: Any = made.params.get("losses")
    if not isinstance(losses, Mapping) or not losses:
        return Unknown(f"the parameters of {made.task} name no losses")
    weighed = [loss for loss, weight in losses.items() if weight]
    return next((APPROACHES[loss] for loss in weighed if loss in APPROACHES), APPROACHES[""])


def _known_approach(text: str) -> str:
    if text not in APPROACHES.values():
        raise ValueError(text)
    return text


def folder(receipt: Receipt) -> str | Unknown:
    """The folder of a version below the tree's root, ending in ``/``: the one that has the version's name."""
    fixed = sorted(file.path for file in receipt.files if file.fixed)
    # What lies under models/ is the version itself; checkpoints and profiles of it lie elsewhere.
    for path in sorted(fixed, key=lambda path: not path.startswith("models/")):
        parts = path.split("/")[:-1]
        if receipt.version in parts:
            return "/".join(parts[: parts.index(receipt.version) + 1]) + "/"
    return Unknown("no file of it lies in a folder of this version")


def untold(receipt: Receipt) -> str:
    """Why little is known of what no record tells."""
    return f"migrated from {receipt.origin}; no record tells it" if receipt.origin else "no record tells it"


NO_PARENT = "it has no parent"
