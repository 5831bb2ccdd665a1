"""Lookup of published versions among receipts, and of the records of a version."""

from collections.abc import Iterable, Mapping

from pokeflow.project.receipts import Receipt, version_sort_key
from pokeflow.types import Record

Versions = Mapping[str, Receipt]
"""Receipts of published versions by ``<model>:<version>``."""


def name(receipt: Receipt) -> str:
    """Return the name of a version, ``<model>:<version>``."""
    return f"{receipt.model}:{receipt.version}"


def versions(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    """Return the published versions by name, sorted by model and then numerically by version."""
    of_models = (receipt for receipt in receipts if receipt.model and receipt.version)
    return {name(r): r for r in sorted(of_models, key=lambda r: (r.model, version_sort_key(r.version)))}


def newest(receipts: Iterable[Receipt], first: Iterable[str] = ()) -> dict[str, Receipt]:
    """Return the most recently produced version of each model: the models in ``first``, then the others by name."""
    latest: dict[str, Receipt] = {}
    for receipt in versions(receipts).values():
        before = latest.get(receipt.model)
        if before is None or _finished(before) <= _finished(receipt):
            latest[receipt.model] = receipt
    order = {model: index for index, model in enumerate(first)}
    return dict(sorted(latest.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _finished(receipt: Receipt) -> str:
    record = producing_record(receipt)
    return record.finished if record else ""


def producing_record(receipt: Receipt) -> Record | None:
    """Return the record of the task that produced a version; None for a migrated version."""
    return next((record for record in receipt.records if record.makes_model), None)


def records(receipt: Receipt) -> dict[str, Record]:
    """Return a version's records by stage; that of the task that produced it also under the key ``producer``."""
    by_stage = {record.stage: record for record in reversed(receipt.records)}
    record = producing_record(receipt)
    return by_stage | {"producer": record} if record else by_stage
