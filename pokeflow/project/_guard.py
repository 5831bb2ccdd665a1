"""Protection of published versions: a run or publication that would change one is refused before it begins."""

from collections.abc import Iterable

from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow
from pokeflow.objects import ObjectStore
from pokeflow.project import receipts
from pokeflow.project.receipts import Receipt
from pokeflow.project.tree import open_tree
from pokeflow.stages import REGISTER
from pokeflow.types import RECEIPTS


def check(flow: Flow) -> None:
    """Raise a ConfigError for versions to register or publish that are published with another digest, or forced."""
    concerned = {
        step.model: step.version for step in flow.steps if step.version and (flow.publish or step.stage == REGISTER)
    }
    faults = []
    for receipt in published_receipts(open_tree(flow).objects, concerned.items()):
        made, named = flow.producer(receipt.model).digest, f"{receipt.model} {receipt.version}"
        if receipt.model in flow.force:
            message = f"{named} is published and stays as it is. Raise its version to make another."
            faults.append(Fault("force", message))
        elif receipt.digest != made:
            message = (
                f"{receipt.version} is published with digest {receipt.digest or 'unknown (it was migrated)'}, and this "
                f"configuration makes {made}. Raise the version, or leave the stage 'register' out."
            )
            faults.append(Fault(f"lineage.models.{receipt.model}.version", message))
    if faults:
        raise ConfigError(faults)


def published_receipts(objects: ObjectStore, versions: Iterable[tuple[str, str]]) -> list[Receipt]:
    """Return the receipts of those versions that are published."""
    wanted = {receipts.unit(*version) for version in versions}
    if not wanted:
        return []
    there = {entry.key for entry in objects.list(f"{RECEIPTS}models/")}
    found = (receipts.read(objects, unit) for unit in sorted(wanted) if receipts.key(unit) in there)
    return [answer[0] for answer in found if answer is not None]
