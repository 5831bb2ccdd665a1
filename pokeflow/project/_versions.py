"""The published versions among receipts, and which record tells what of a version."""

from collections.abc import Iterable, Mapping

from pokeflow.project.receipts import Receipt, natural
from pokeflow.types import Record

Versions = Mapping[str, Receipt]
"""Published versions by ``<model>:<version>``."""


def name(receipt: Receipt) -> str:
    """How a version is called: ``<model>:<version>``."""
    return f"{receipt.model}:{receipt.version}"


def versions(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    """The published versions by name, sorted by model and then as people count versions."""
    of_models = (receipt for receipt in receipts if receipt.model and receipt.version)
    return {name(r): r for r in sorted(of_models, key=lambda r: (r.model, natural(r.version)))}


def newest(receipts: Iterable[Receipt], first: Iterable[str] = ()) -> dict[str, Receipt]:
    """Of each model the version that was made last; the models named first, then the others by name."""
    latest: dict[str, Receipt] = {}
    for receipt in versions(receipts).values():
        before = latest.get(receipt.model)
        if before is None or _finished(before) <= _finished(receipt):
            latest[receipt.model] = receipt
    order = {model: place for place, model in enumerate(first)}
    return dict(sorted(latest.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _finished(receipt: Receipt) -> str:
    made = making(receipt)
    return made.finished if made else ""


def making(receipt: Receipt) -> Record | None:
    """The record of the task that made a version; None for what was migrated."""
    return next((record for record in receipt.records if record.makes_model), None)


def records(receipt: Receipt) -> dict[str, Record]:
    """A version's records by stage, the making one as ``making`` too."""
    found = {record.stage: record for record in reversed(receipt.records)}
    made = making(receipt)
    return found | {"making": made} if made else found
