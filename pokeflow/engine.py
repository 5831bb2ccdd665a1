"""Runs a flow: reuses what is made, makes what is missing, once, and leaves a record of it."""

import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pluggy

from pokeflow import environment, observe, telemetry
from pokeflow import store as stores
from pokeflow.digest import content, decisive
from pokeflow.errors import PokeflowError, TaskError
from pokeflow.flow import PREPARE, Flow, Step
from pokeflow.plugins import Registry
from pokeflow.shared import LOG, Claim
from pokeflow.store import Store, list_files
from pokeflow.types import Input, Record, Result, Task
from pokeflow.worker import require_sound, told

log = logging.getLogger("pokeflow")


@dataclass(frozen=True, slots=True)
class Planned:
    """What would happen to a step: its record if it is reused, else why it is made."""

    step: Step
    record: Record | None
    why: str


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
        record, why = _reusable(flow, store, step, done, since)
        if record:
            done[step.name] = record
        yield Planned(step, record, why)


def run(flow: Flow, registry: Registry, hook: pluggy.HookRelay, since: str) -> Report:
    """Make what is missing, in order. A failed task holds up only what needs it; TaskError names it at the end.

    ``since`` is when this run, or the sweep it belongs to, began: what is forced is redone unless it was
    made after that.
    """
    store, note = stores.of(flow), telemetry.RunNote(flow)
    teller = observe.Teller(flow, hook, store)
    teller.catch_up()
    done: dict[str, Record] = {}
    ran: list[str] = []
    failures: list[str] = []
    held: list[str] = []
    for step in flow.steps:
        if any(need not in done for need in step.needs):
            held.append(step.name)
            continue
        try:
            record, _ = _reusable(flow, store, step, done, since)
            if record is not None:
                store.share(record)
            else:
                with store.claim(step) as claim:
                    # Whoever held the claim before may have made it meanwhile.
                    record, why = _reusable(flow, store, step, done, since)
                    if record is None:
                        record = _make(flow, registry, store, step, done, why, claim, note)
                        ran.append(step.name)
                if ran[-1:] == [step.name]:
                    teller.tell(step, record)
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; the others go on
            failures.append(_failure(store, step, error))
            continue
        done[step.name] = record
    teller.finish()
    if failures:
        waiting = [f"Not run, for want of it: {', '.join(held)}."] if held else []
        again = f"What is done is kept. Go on with: {flow.command}"
        raise TaskError("\n".join([*failures, *waiting, again]), ran)
    return Report(done, tuple(ran))


def _reusable(
    flow: Flow, store: Store, step: Step, done: Mapping[str, Record], since: str
) -> tuple[Record | None, str]:
    """The record that makes a step unnecessary, or None and the reason why it is made."""
    record = store.load(step)
    if record is None:
        return None, "not made yet"
    if step.model in flow.force and record.started < since:
        return None, "forced"
    changed = [need for need in step.needs if record.inputs.get(need) != done[need].content]
    if changed:
        return None, f"{changed[0]} was made again and differs"
    return record, ""


def _make(
    flow: Flow,
    registry: Registry,
    store: Store,
    step: Step,
    done: Mapping[str, Record],
    why: str,
    claim: Claim,
    note: telemetry.RunNote,
) -> Record:
    work, output = store.begin(step)
    note.leave(work, store.folder(step))
    executor = registry.executors[step.on]
    inputs = tuple(Input(done[need], store.fetch(done[need])) for need in step.needs)
    task = Task(
        step.stage,
        step.backend.name,
        step.model,
        step.version,
        step.type,
        step.digest,
        step.params,
        inputs,
        work,
        output,
    )
    log.info("%s: %s on %s (%s)", step.name, step.backend.name, step.on, why)
    started, clock = now(), time.perf_counter()
    with _log_file(work / LOG):
        result = executor.run(task, step.backend, step.place)
        require_sound(result, f"executor {step.on!r}")
        _require_unchanged(flow, store, step, done)
        claim.require()
    seconds = time.perf_counter() - clock
    price = executor.price(step.place, seconds) if executor.price else None
    record = _record(step, result, inputs, output, started, seconds, price)
    observe.remember(flow, store, step, started)
    store.commit(step, output, record)
    log.info("%s: done in %.1f s %s", step.name, seconds, _brief(record))
    return record


def _require_unchanged(flow: Flow, store: Store, step: Step, done: Mapping[str, Record]) -> None:
    """Refuse a result whose inputs were replaced while it was made: its record would not say what it was made of."""
    for need in step.needs:
        now_there = store.load(flow.step(need))
        if now_there is None:
            raise PokeflowError(f"{need} is damaged or gone. Run this again: it is made again.")
        if now_there.content != done[need].content:
            raise PokeflowError(f"{need} was made again by another run meanwhile. Run this again.")
    if step.backend.fingerprint and step.backend.fingerprint(step.params) != step.fingerprint:
        raise PokeflowError("what its parameters point to changed while it was read. Run this again.")


def _record(
    step: Step,
    result: Result,
    inputs: tuple[Input, ...],
    output: Path,
    started: str,
    seconds: float,
    price: float | None,
) -> Record:
    files = list_files(output)
    reasons = dict(result.reasons)
    if price is None:
        reasons["cost_usd"] = f"executor {step.on!r} is not billed"
    return Record(
        task=step.name,
        stage=step.stage,
        backend=step.backend.name,
        revision=step.backend.revision,
        model=step.model,
        version=step.version,
        type=step.type,
        digest=step.digest,
        params=decisive(step.params),
        inputs={i.record.task: i.record.content for i in inputs},
        metrics={name: None if value is None else float(value) for name, value in result.metrics.items()},
        facts=dict(result.facts),
        reasons=reasons,
        files=files,
        content=content(files),
        environment=environment.of(step.backend),
        executor=step.on,
        started=started,
        finished=now(),
        seconds=seconds,
        cost_usd=price,
    )


def _failure(store: Store, step: Step, error: Exception) -> str:
    log.error("%s: failed", step.name)
    places = (store.work(step) / LOG, store.folder(step) / LOG)
    where = next((f"\n  log: {place}" for place in places if place.exists()), "")
    return f"{step.name} failed: {told(error)}{where}"


def _brief(record: Record) -> str:
    shown = [f"{k} {v:.4g}" for k, v in record.metrics.items() if v is not None]
    return f"({', '.join(shown[:4])})" if shown and record.stage != PREPARE else ""


@contextmanager
def _log_file(file: Path) -> Iterator[None]:
    """Everything that is logged meanwhile goes to this file as well, and a traceback if it ends in one."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except BaseException:
        with file.open("a", encoding="utf-8") as out:
            traceback.print_exc(file=out)
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def now() -> str:
    """The present moment in UTC, as records write it: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def objective(flow: Flow, report: Report) -> float | None:
    """The figure that a sweep looks at: ``<model>.<metric>``, from the model's benchmark or else its making."""
    if flow.objective is None:
        return None
    model, _, metric = flow.objective.rpartition(".")
    records = [report.records[s.name] for s in reversed(flow.steps) if s.model == model and s.name in report.records]
    return next((r.metrics[metric] for r in records if metric in r.metrics), None)
