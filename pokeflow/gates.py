"""Quality gates: the bounds that a model's figures must meet for approval, and the verdict on each."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pokeflow.errors import unknown
from pokeflow.types import Record

PASSED, FAILED = "passed", "failed"
"""Published forms of a verdict, in a registry's tags or in JSON."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Lower and upper bound of a figure; ``applies_to`` names models or model types (empty: all models)."""

    min: float | None = None
    max: float | None = None
    applies_to: tuple[str, ...] = field(default=(), metadata={"formerly": {"of": "of"}})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a gate for a model: passed or not, with the deciding figure, or the reason why it is unknown."""

    passed: bool
    message: str

    def __str__(self) -> str:
        """Return the published form, such as ``passed: 0.95 is at least 0.9``."""
        return f"{PASSED if self.passed else FAILED}: {self.message}"


def evaluate(gates: Mapping[str, Gate], record: Record, benchmark: Record | None) -> dict[str, Verdict]:
    """Return the verdict of each gate that applies to this model; an unknown figure fails its gate.

    A figure is read from ``benchmark``, or else from ``record``, that of the task that produced the model.
    """
    records = [item for item in (benchmark, record) if item]
    names = {record.model, record.type}
    applicable = {name: gate for name, gate in gates.items() if not gate.applies_to or names & set(gate.applies_to)}
    return {name: _verdict(name, gate, records) for name, gate in applicable.items()}


def all_passed(verdicts: Mapping[str, Verdict]) -> bool | None:
    """Return whether all gates were passed; None if no gate applied."""
    return all(verdict.passed for verdict in verdicts.values()) if verdicts else None


def key(name: str) -> str:
    """Return a gate's name as a JSON key that a path expression can address: letters, digits and ``_``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def faults(gates: Mapping[str, Gate]) -> Iterable[tuple[str, str]]:
    """Yield the faults of gates as (gate name, message) pairs."""
    for name, gate in gates.items():
        yield from ((name, fault) for fault in _faults_of(name, gate))


def _faults_of(name: str, gate: Gate) -> Iterable[str]:
    bounds = [bound for bound in (gate.min, gate.max) if bound is not None]
    if not re.fullmatch(r"[\w.-]{1,200}", name):
        yield f"{name!r} is not a figure: use letters, digits, '_', '-' and '.'"
    if not bounds:
        yield "has no bound. Set min, max or both"
    if not all(math.isfinite(bound) for bound in bounds):
        yield "a bound must be a finite number"
    elif bounds != sorted(bounds):
        yield f"min {gate.min} is above max {gate.max}: no value can pass"


def _verdict(name: str, gate: Gate, records: list[Record]) -> Verdict:
    record = next((r for r in records if name in r.metrics), None)
    if record is None:
        metrics = {metric for r in records for metric in r.metrics}
        return Verdict(False, unknown("", "figure", name, metrics).message)
    value = record.metrics[name]
    if value is None or not math.isfinite(value):
        reason = record.reasons.get(name, "no reason recorded") if value is None else f"it is {value}"
        return Verdict(False, f"unknown in {record.stage}: {reason}")
    if gate.min is not None and value < gate.min:
        return Verdict(False, f"{value:.6g} is below {gate.min:.6g}")
    if gate.max is not None and value > gate.max:
        return Verdict(False, f"{value:.6g} is above {gate.max:.6g}")
    least = f"at least {gate.min:.6g}" if gate.min is not None else ""
    most = f"at most {gate.max:.6g}" if gate.max is not None else ""
    return Verdict(True, f"{value:.6g} is {' and '.join(filter(None, (least, most)))}")
