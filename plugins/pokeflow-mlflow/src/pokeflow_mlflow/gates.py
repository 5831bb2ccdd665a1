"""Gates: what a version must reach to be the approved one, and the alias that says which one is."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pokeflow import Record
from pokeflow.errors import unknown
from pokeflow_mlflow import Gate

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "pokeflow.gates"
PASSED, FAILED = "passed", "failed"
NONE = 0
"""No version: they begin at 1."""
TRIES = 5


def judge(gates: Mapping[str, Gate], made: Record, benchmark: Record | None) -> dict[str, str]:
    """For each gate a sentence that begins with ``passed`` or ``failed``; what is not known has failed.

    A figure is the benchmark's, or else that of the making: as a sweep's objective is looked up.
    """
    records = [record for record in (benchmark, made) if record]
    return {name: _judged(name, gate, records) for name, gate in gates.items()}


def _judged(name: str, gate: Gate, records: list[Record]) -> str:
    record = next((r for r in records if name in r.metrics), None)
    if record is None:
        known = {metric for r in records for metric in r.metrics}
        return f"{FAILED}: {unknown('', 'figure', name, known).message}"
    value = record.metrics[name]
    if value is None or not math.isfinite(value):
        reason = record.reasons.get(name, "no reason is given") if value is None else f"it is {value}"
        return f"{FAILED}: {record.stage} does not know it: {reason}"
    if gate.min is not None and value < gate.min:
        return f"{FAILED}: {value:.6g} is below {gate.min:.6g}"
    if gate.max is not None and value > gate.max:
        return f"{FAILED}: {value:.6g} is above {gate.max:.6g}"
    least = f"at least {gate.min:.6g}" if gate.min is not None else ""
    most = f"at most {gate.max:.6g}" if gate.max is not None else ""
    return f"{PASSED}: {value:.6g} is {' and '.join(filter(None, (least, most)))}"


def tags_of(verdicts: Mapping[str, str]) -> dict[str, str]:
    """The verdicts as tags, and one for all of them; nothing where nothing was asked."""
    if not verdicts:
        return {}
    passed = all(verdict.startswith(PASSED) for verdict in verdicts.values())
    return {TAG: PASSED if passed else FAILED, **{f"pokeflow.gate.{name}": text for name, text in verdicts.items()}}


def settle(client: "MlflowClient", name: str, version: int, alias: str, verdict: str | None) -> bool:
    """Give the alias to whom it belongs, and say whether that is this version, whose tags are written already.

    The newest version that passed has it. One that passes takes it from an older one, never from a newer one; one
    that has it and fails hands it back. Without gates (``verdict`` None) it stays where it is.
    """
    from mlflow.exceptions import MlflowException

    mine, faults = verdict == PASSED, 0
    while True:
        holder = int(client.get_registered_model(name).aliases.get(alias, NONE))
        # Another process may judge another version meanwhile: what was set is looked at again until it stands.
        if mine:
            right = max(holder, _newest(client, name))
        elif verdict == FAILED and holder == version:
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
