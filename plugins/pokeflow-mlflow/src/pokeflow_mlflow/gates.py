"""What the gates' verdicts mean in MLflow's registry: tags, and the alias that says which version is approved."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pokeflow.gates import FAILED, PASSED, Verdict, all_passed

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "pokeflow.gates"
NONE = 0
"""No version: they begin at 1."""
TRIES = 5


def tags_of(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """The verdicts as tags, and one for all of them; nothing where nothing was asked."""
    if not verdicts:
        return {}
    return {
        TAG: PASSED if all_passed(verdicts) else FAILED,
        **{f"pokeflow.gate.{name}": str(verdict) for name, verdict in verdicts.items()},
    }


def settle(client: "MlflowClient", name: str, version: int, alias: str, passed: bool | None) -> bool:
    """Give the alias to whom it belongs, and say whether that is this version, whose tags are written already.

    The newest version that passed has it. One that passes takes it from an older one, never from a newer one; one
    that has it and fails hands it back. Without gates (``passed`` None) it stays where it is.
    """
    from mlflow.exceptions import MlflowException

    mine, faults = bool(passed), 0
    while True:
        holder = int(client.get_registered_model(name).aliases.get(alias, NONE))
        # Another process may judge another version meanwhile: what was set is looked at again until it stands.
        if mine:
            right = max(holder, _newest(client, name))
        elif passed is False and holder == version:
            right, mine = _newest(client, name), True
        else:
            return holder == version
        if right == holder:
            return holder == version
        try:
            _give(client, name, alias, right)
        except MlflowException:
            # MLflow refuses the second of two that set it in the same moment.
            faults += 1
            if faults == TRIES:
                raise


def _give(client: "MlflowClient", name: str, alias: str, version: int) -> None:
    if version == NONE:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, str(version))


def _newest(client: "MlflowClient", name: str) -> int:
    passed: list[Any] = client.search_model_versions(f"name = '{name}' and tags.`{TAG}` = '{PASSED}'")
    return max((int(found.version) for found in passed), default=NONE)
