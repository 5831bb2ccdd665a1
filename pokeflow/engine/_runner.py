"""Runs a flow: reuses what is made, makes what is missing, once, and leaves a record of it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pluggy

from pokeflow.engine import _budget as budget
from pokeflow.engine import _provenance as provenance
from pokeflow.engine import _records as making
from pokeflow.engine import _tracking as tracking
from pokeflow.engine._records import now
from pokeflow.engine._result import RunResult
from pokeflow.engine.worker import require_sound, told
from pokeflow.errors import PokeflowError, TaskError, Unavailable
from pokeflow.flow import PREPARE, Flow, Step
from pokeflow.plugins import Registry
from pokeflow.store import Claim, Store
from pokeflow.store import _local as stores
from pokeflow.types import LOG, Input, Record, Task

log = logging.getLogger("pokeflow")


@dataclass(frozen=True, slots=True)
class Planned:
    """What would happen to a step: its record if it is reused, and why it is made or what is odd about its reuse."""

    step: Step
    record: Record | None
    why: str


@dataclass(frozen=True, slots=True)
class _Given:
    """Why a step is made, the record that its result takes the place of, and the note that goes with it."""

    why: str
    replaced: Record | None
    note: provenance.RunNote


@dataclass(frozen=True, slots=True)
class Report:
    """What a run left: a record for each step, by name, and the names of those that ran."""

    records: Mapping[str, Record]
    ran: tuple[str, ...]


def plan(flow: Flow, since: str) -> Iterator[Planned]:
    """Tell for each step whether it is reused or made, and why, without touching anything."""
    store = stores.of(flow)
    done: dict[str, Record] = {}
    for step in flow.steps:
        again = next((need for need in step.needs if need not in done), None)
        if again:
            yield Planned(step, None, f"after {again}")
            continue
        record, why, _ = _reusable(flow, store, step, done, since)
        if record:
            done[step.name] = record
        yield Planned(step, record, why)


def run(
    flow: Flow, registry: Registry, hook: pluggy.HookRelay, since: str, planned: Sequence[Planned] | None = None
) -> Report:
    """Make what is missing, in order. A failed task holds up only what needs it; TaskError names it at the end.

    ``since`` is when this run, or the sweep it belongs to, began: what is forced is redone unless it was
    made after that. ``planned`` is the flow's plan, where it was made already.
    """
    items = plan(flow, since) if planned is None else planned  # not looked at where nothing limits the cost
    budget.check(flow, registry, (item.step for item in items if item.record is None))
    store, note = stores.of(flow), provenance.RunNote(flow)
    teller = tracking.Teller(flow, hook, store)
    teller.catch_up()
    done: dict[str, Record] = {}
    ran: list[str] = []
    failures: list[str] = []
    absent: list[str] = []
    held: list[str] = []
    for step in flow.steps:
        if any(need not in done for need in step.needs):
            held.append(step.name)
            continue
        try:
            record, _, _ = _reusable(flow, store, step, done, since)
            if record is not None:
                store.share(record)
                teller.expected(step, record)
            else:
                record, new = _made(flow, registry, store, step, done, since, note)
                if new:
                    ran.append(step.name)
            record = _settled(registry, store, step, record)
            if step.name in ran[-1:] and not record.simulated:
                teller.tell(step, record)
        except Unavailable as error:
            absent.append(_unavailable(store, step, error))
            continue
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; the others go on
            failures.append(_failure(store, step, error))
            continue
        done[step.name] = record
    teller.finish()
    if failures or absent:
        waiting = [f"Not run, for want of it: {', '.join(held)}."] if held else []
        again = f"What is done is kept. Go on with: {flow.command}"
        raise TaskError("\n".join([*failures, *absent, *waiting, again]), ran, failed=bool(failures), records=done)
    return Report(done, tuple(ran))


def _reusable(
    flow: Flow, store: Store, step: Step, done: Mapping[str, Record], since: str
) -> tuple[Record | None, str, Record | None]:
    """The record that makes a step unnecessary; or None, the reason why it is made, and the record that there is."""
    record = store.load(step)
    if record is None:
        return None, "not made yet", None
    if step.model in flow.force and record.started < since:
        return None, "forced", record
    if record.simulated and record.started < since:
        return None, "a double made it", record  # the real one may be here by now: its result has the same digest
    changed = [need for need in step.needs if record.inputs.get(need) != done[need].content]
    if changed:
        return None, f"{changed[0]} was made again and differs", record
    return record, "", None


def _made(
    flow: Flow,
    registry: Registry,
    store: Store,
    step: Step,
    done: Mapping[str, Record],
    since: str,
    note: provenance.RunNote,
) -> tuple[Record, bool]:
    """Make a step, and say so; unless whoever held it meanwhile has made it."""
    if registry.executors[step.on].remote:
        # The job holds the claim: it goes on where this process is lost.
        with store.alone(step):
            record, why, replaced = _reusable(flow, store, step, done, since)
            given = _Given(why, replaced, note)
            return (record, False) if record else (_have_made(flow, registry, store, step, done, given), True)
    with store.claim(step) as claim:
        record, why, replaced = _reusable(flow, store, step, done, since)
        given = _Given(why, replaced, note)
        return (record, False) if record else (_make(flow, registry, store, step, done, claim, given), True)


def _make(
    flow: Flow, registry: Registry, store: Store, step: Step, done: Mapping[str, Record], claim: Claim, given: _Given
) -> Record:
    work, output = store.begin(step)
    given.note.leave(work, store.folder(step))
    executor = registry.executors[step.on]
    inputs = tuple(Input(done[need], store.fetch(done[need])) for need in step.needs)
    task = _task(flow, step, inputs, work, output)
    log.info("%s: %s on %s (%s)", step.name, step.backend.name, step.on, given.why)
    started, clock = now(), time.perf_counter()
    with making.log_file(work / LOG):
        making.require_real(task)
        result = executor(task, step.backend, step.place)
        require_sound(result, f"executor {step.on!r}")
        assert result is not None  # it would not be sound
        making.require_unchanged(store, task, step.backend)
        claim.require()
    seconds = time.perf_counter() - clock
    price = executor.price(step.place, seconds) if executor.price else None
    why = f"executor {step.on!r} {'knows no price' if executor.price else 'is not billed'}"
    record = making.record_of(
        task, step.backend, result, on=step.on, started=started, seconds=seconds, price=price, why=why
    )
    if not record.simulated:
        tracking.remember(flow, store, step, started)
    store.commit(output, record)
    log.info("%s: done in %.1f s %s", step.name, seconds, _brief(record))
    return record


def _have_made(
    flow: Flow, registry: Registry, store: Store, step: Step, done: Mapping[str, Record], given: _Given
) -> Record:
    """Have a job elsewhere make a step, which leaves the record in the bucket; none of its files comes through here."""
    work, executor = store.work(step), registry.executors[step.on]
    work.mkdir(parents=True, exist_ok=True)
    given.note.leave(work, store.folder(step))
    inputs = tuple(Input(done[need], store.folder(done[need])) for need in step.needs)
    for item in inputs:
        store.require_shared(item.record)
    task = _task(flow, step, inputs, work, work / "output")
    if given.replaced is not None:
        task = replace(task, replaces=given.replaced.started)
    log.info("%s: %s on %s (%s)", step.name, step.backend.name, step.on, given.why)
    making.require_real(task)
    tracking.expect(flow, store, step, task.replaces)
    with making.log_file(work / LOG):
        executor(task, step.backend, step.place)
        record = store.met(step)
        if record is None:
            raise PokeflowError(f"the job ended well and left no record in {flow.shared and flow.shared.uri}.")
        if changed := [need for need in step.needs if record.inputs.get(need) != done[need].content]:
            raise PokeflowError(f"another run made it of another {changed[0]} meanwhile. Run this again.")
    log.info("%s: done in %.1f s %s", step.name, record.seconds, _brief(record))
    return record


def _task(flow: Flow, step: Step, inputs: tuple[Input, ...], work: Path, output: Path) -> Task:
    named = (step.stage, step.backend.name, step.model, step.version, step.type, step.digest)
    return Task(*named, step.params, inputs, work, output, shared=flow.shared, fingerprint=step.fingerprint)


def _settled(registry: Registry, store: Store, step: Step, record: Record) -> Record:
    """The record with what its machine cost, if that has come to be known since; a bill that is late is no failure."""
    executor = registry.executors.get(record.executor)
    if record.cost_usd is not None or executor is None or executor.bill is None:
        return record
    try:
        bill = executor.bill(record, step.place if step.on == record.executor else executor.params())
    except PokeflowError as error:
        log.warning("%s: what it cost is not known yet: %s", record.task, error)
        return record
    if bill is None or (bill.cost_usd is None and record.reasons.get("cost_usd") == bill.reason):
        return record
    reasons = {name: reason for name, reason in record.reasons.items() if name != "cost_usd"}
    if bill.cost_usd is None:
        reasons["cost_usd"] = bill.reason
    told = {**record.environment, **bill.environment}
    record = replace(record, cost_usd=bill.cost_usd, reasons=reasons, environment=told)
    store.amend(record)
    return record


def _failure(store: Store, step: Step, error: Exception) -> str:
    log.error("%s: failed", step.name)
    places = (store.work(step) / LOG, store.folder(step) / LOG)
    where = next((f"\n  log: {place}" for place in places if place.exists()), "")
    return f"{step.name} failed: {told(error)}{where}"


def _unavailable(store: Store, step: Step, error: Unavailable) -> str:
    log.warning("%s: unavailable", step.name)
    output = store.work(step) / "output"
    ready = f"\n  what is ready for it: {output}" if output.is_dir() and any(output.iterdir()) else ""
    return f"{step.name} unavailable: {told(error)}{ready}"


def _brief(record: Record) -> str:
    if record.simulated:
        return "(simulated)"
    shown = [f"{k} {v:.4g}" for k, v in record.metrics.items() if v is not None]
    return f"({', '.join(shown[:4])})" if shown and record.stage != PREPARE else ""


def objective(flow: Flow, report: Report | RunResult) -> float | None:
    """The figure that a sweep looks at: ``<model>.<metric>``, from the model's benchmark or else its making.

    None where there is none, or none but a double's.
    """
    if flow.objective is None:
        return None
    model, _, metric = flow.objective.rpartition(".")
    records = [report.records[s.name] for s in reversed(flow.steps) if s.model == model and s.name in report.records]
    return next((r.metrics[metric] for r in records if metric in r.metrics and not r.simulated), None)
