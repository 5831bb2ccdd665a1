"""Gate verdicts in MLflow's registry: tags of a version, and the alias that marks the approved version."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pokeflow.gates import FAILED, PASSED, Verdict, all_passed

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "pokeflow.gates"
NONE = 0
"""Stands for "no version": MLflow's version numbers begin at 1."""
TRIES = 5


def tags_of(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """Return a tag for every verdict and one for all of them; without verdicts return no tags."""
    if not verdicts:
        return {}
    return {
        TAG: PASSED if all_passed(verdicts) else FAILED,
        **{f"pokeflow.gate.{name}": str(verdict) for name, verdict in verdicts.items()},
    }


def settle(client: "MlflowClient", name: str, version: int, alias: str, passed: bool | None) -> bool:
    """Move the alias to the newest version that passed, and return whether this version has it then.

    A version that passes takes the alias from an older version, never from a newer one. If a version that has the
    alias fails, the alias moves to the newest version that passed, or is deleted if there is no such version.

    Args:
        client: The client of the registry.
        name: The registered model.
        version: The version that was evaluated; its tags must be written already.
        alias: The alias of the approved version.
        passed: Whether the version passed all gates; None means that there are no gates, and the alias does not move.

    Raises:
        MlflowException: MLflow refused to set the alias ``TRIES`` times.

    """
    from mlflow.exceptions import MlflowException

    is_settling, failures = bool(passed), 0
    while True:
        holder = int(client.get_registered_model(name).aliases.get(alias, NONE))
        # Another process may evaluate another version at the same time, so the alias is read again until it is right.
        if is_settling:
            target = max(holder, _newest(client, name))
        elif passed is False and holder == version:
            target, is_settling = _newest(client, name), True
        else:
            return holder == version
        if target == holder:
            return holder == version
        try:
            _set_alias(client, name, alias, target)
        except MlflowException:
            # If two processes set the alias at the same moment, MLflow refuses the second one.
            failures += 1
            if failures == TRIES:
                raise


def _set_alias(client: "MlflowClient", name: str, alias: str, version: int) -> None:
    if version == NONE:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, str(version))


def _newest(client: "MlflowClient", name: str) -> int:
    versions: list[Any] = client.search_model_versions(f"name = '{name}' and tags.`{TAG}` = '{PASSED}'")
    return max((int(version.version) for version in versions), default=NONE)
