"""Facts of the whole project that come from no task, such as its id in the cloud: published as a receipt."""

from collections.abc import Mapping
from typing import Any

from pokeflow.flow import Flow
from pokeflow.objects import Damaged
from pokeflow.project import receipts
from pokeflow.project import tree as trees
from pokeflow.project.receipts import Receipt


def publish_facts(flow: Flow, unit: str, facts: Mapping[str, Any]) -> None:
    """Write the receipt of a unit that has facts and no files; one that is damaged is replaced."""
    objects, receipt = trees.of(flow).objects, Receipt(unit=unit, files=(), facts=facts)
    try:
        receipts.put(objects, receipt)
    except Damaged:
        objects.delete(receipts.key(unit))  # all that it said is said again
        receipts.put(objects, receipt)
