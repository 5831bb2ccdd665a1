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
    versions = {
        step.model: step.version for step in flow.steps if step.version and (flow.publish or step.stage == REGISTER)
    }
    faults = []
    for receipt in published_receipts(open_tree(flow).objects, versions.items()):
        digest, label = flow.producer(receipt.model).digest, f"{receipt.model} {receipt.version}"
        if receipt.model in flow.force:
            faults.append(Fault("force", f"{label} is published and cannot change. Raise its version."))
        elif receipt.digest != digest:
            message = (
                f"{receipt.version} is published with digest {receipt.digest or 'unknown (it was migrated)'}, and this "
                f"configuration gives {digest}. Raise the version, or leave out the stage 'register'."
            )
            faults.append(Fault(f"lineage.models.{receipt.model}.version", message))
    if faults:
        raise ConfigError(faults)


def published_receipts(objects: ObjectStore, versions: Iterable[tuple[str, str]]) -> list[Receipt]:
    """Return the receipts of those versions that are published."""
    units = {receipts.unit(*version) for version in versions}
    if not units:
        return []
    keys = {entry.key for entry in objects.list(f"{RECEIPTS}models/")}
    stored = (receipts.read(objects, unit) for unit in sorted(units) if receipts.key(unit) in keys)
    return [item[0] for item in stored if item is not None]
