"""Publication of project facts that come from no task, such as its id in the cloud, as a receipt."""

from collections.abc import Mapping
from typing import Any

from pokeflow.flow import Flow
from pokeflow.objects import IntegrityError
from pokeflow.project import receipts
from pokeflow.project import tree as trees
from pokeflow.project.receipts import Receipt


def publish_facts(flow: Flow, unit: str, facts: Mapping[str, Any]) -> None:
    """Write the receipt of a unit that has facts and no files; replace it if it is damaged."""
    objects, receipt = trees.open_tree(flow).objects, Receipt(unit=unit, files=(), facts=facts)
    try:
        receipts.put(objects, receipt)
    except IntegrityError:
        objects.delete(receipts.key(unit))  # the new receipt has all of its content
        receipts.put(objects, receipt)
