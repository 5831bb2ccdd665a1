"""Quality gates: what a model's figures must reach to be approved, and the verdict on each."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pokeflow.errors import unknown
from pokeflow.types import Record

PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True, slots=True)
class Gate:
    """The least and the most that a figure may be; ``of`` are the models or model types that it holds for, else all."""

    min: float | None = None
    max: float | None = None
    of: tuple[str, ...] = ()


def judge(gates: Mapping[str, Gate], made: Record, benchmark: Record | None) -> dict[str, str]:
    """For each gate of this model a sentence that begins with ``passed`` or ``failed``; what is not known has failed.

    A figure is the benchmark's, or else that of the making: as a sweep's objective is looked up.
    """
    records = [record for record in (benchmark, made) if record]
    mine = {name: gate for name, gate in gates.items() if not gate.of or {made.model, made.type} & set(gate.of)}
    return {name: _judged(name, gate, records) for name, gate in mine.items()}


def passes(verdicts: Mapping[str, str]) -> bool | None:
    """Whether all gates were passed; None where nothing was asked."""
    return all(verdict.startswith(PASSED) for verdict in verdicts.values()) if verdicts else None


def key(name: str) -> str:
    """A gate's name as a member of a JSON document that a path can reach: letters, digits and ``_``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def faults(gates: Mapping[str, Gate]) -> Iterable[tuple[str, str]]:
    """What is wrong with gates, as (name, what is wrong) pairs."""
    for name, gate in gates.items():
        yield from ((name, fault) for fault in _faults_of(name, gate))


def _faults_of(name: str, gate: Gate) -> Iterable[str]:
    bounds = [bound for bound in (gate.min, gate.max) if bound is not None]
    if not re.fullmatch(r"[\w.-]{1,200}", name):
        yield f"{name!r} names no figure: letters, digits, '_', '-', '.'"
    if not bounds:
        yield "asks for nothing. Give min, max or both"
    if not all(math.isfinite(bound) for bound in bounds):
        yield "a bound must be a finite number"
    elif bounds != sorted(bounds):
        yield f"min {gate.min} is above max {gate.max}: nothing can pass"


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
