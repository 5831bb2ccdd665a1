"""Runner of a flow: reuses finished tasks, runs missing ones once, and commits their records."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pluggy

from pokeflow import store as stores
from pokeflow.engine import _budget as budget
from pokeflow.engine import _records as records
from pokeflow.engine import _tracking as tracking
from pokeflow.engine._planner import Decision, PlannedStep, changed_inputs, decide
from pokeflow.engine._provenance import RunNote
from pokeflow.engine._records import now
from pokeflow.engine._result import RunResult
from pokeflow.engine.worker import error_message, require_sound
from pokeflow.errors import PokeflowError, TaskError, UnavailableError
from pokeflow.flow import Flow, Step
from pokeflow.plugins import Registry
from pokeflow.stages import PREPARE
from pokeflow.store import Lease, Store
from pokeflow.types import LOG, Executor, Input, Record, load_params

log = logging.getLogger("pokeflow")


def run(
    flow: Flow, registry: Registry, hook: pluggy.HookRelay, since: str, planned: Iterable[PlannedStep]
) -> RunResult:
    """Run the missing tasks in order; a failed task blocks only the tasks that need it.

    Args:
        flow: The steps.
        registry: The backends and executors that are installed.
        hook: The hooks to call for each finished task.
        since: Start of this run, or of the sweep it belongs to: a forced task is run again unless its record was
            started after that.
        planned: The plan of this flow for the same ``since``. Whether a task runs is decided again once this process
            holds the lock of the task.

    Raises:
        ConfigError: The tasks that would run exceed the budget; nothing was started.
        TaskError: Tasks failed or need something unavailable; it names them, and finished tasks are kept.

    """
    planned = tuple(planned)
    budget.check(flow, registry, (item.step for item in planned if item.record is None))
    runner = Runner(flow, registry, stores.open_for_flow(flow), since, RunNote(flow))
    outbox = tracking.TrackingOutbox(flow, hook, runner.store)
    outbox.catch_up()
    failures: list[str] = []
    unavailable: list[str] = []
    blocked: list[str] = []
    for item in planned:
        step = item.step
        if any(need not in runner.done for need in step.needs):
            blocked.append(step.name)
            continue
        try:
            runner.finish(item, outbox)
        except UnavailableError as error:
            unavailable.append(_unavailable(runner.store, step, error))
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; other tasks continue
            failures.append(_failure(runner.store, step, error))
    outbox.finish()
    if failures or unavailable:
        not_run = [f"Not run: {', '.join(blocked)} (a task that they need did not finish)."] if blocked else []
        hint = f"Finished tasks are kept. Resume with: {flow.command}"
        text = "\n".join([*failures, *unavailable, *not_run, hint])
        raise TaskError(text, runner.ran, failed=bool(failures), records=runner.done)
    return RunResult(flow, runner.done, tuple(runner.ran))


@dataclass(frozen=True, slots=True)
class Runner:
    """One run of a flow: ``done`` holds the records of finished steps, ``ran`` the names of those not reused."""

    flow: Flow
    registry: Registry
    store: Store
    since: str
    note: RunNote
    done: dict[str, Record] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def finish(self, item: PlannedStep, outbox: tracking.TrackingOutbox) -> None:
        """Reuse or run a step whose needs are all done; report it to tracking if it ran."""
        step = item.step
        reused = (item.decision or self.decide(step)).record
        if reused is not None:
            self.store.upload(reused)
            outbox.fetch_remote(step, reused)
        record = self._with_cost(step, reused or self.run_once(step))
        if step.name in self.ran and not record.simulated:
            outbox.track(step, record)
        self.done[step.name] = record

    def decide(self, step: Step) -> Decision:
        """Decide whether a step is reused, by the present content of the store."""
        return decide(self.flow, self.store, step, self.done, self.since)

    def run_once(self, step: Step) -> Record:
        """Run a step once no other process runs it; reuse the result if that process finished it."""
        if self.registry.executors[step.executor].remote:
            # The job itself holds the lease, because it continues if this process dies.
            with self.store.lock(step):
                decision = self.decide(step)
                record = decision.record or self._run_remotely(step, decision)
        else:
            with self.store.hold_lease(step) as lease:
                decision = self.decide(step)
                record = decision.record or self._run_here(step, decision, lease)
        if decision.record is None:
            self.ran.append(step.name)
        return record

    def _run_here(self, step: Step, decision: Decision, lease: Lease) -> Record:
        """Run a step on an executor that exchanges files with this machine, and commit its record."""
        store, executor = self.store, self.registry.executors[step.executor]
        work, output = store.begin(step)
        self.note.write(work, store.folder(step))
        inputs = tuple(Input(self.done[need], store.fetch(self.done[need])) for need in step.needs)
        task = step.task(inputs, work, output, remote_store=self.flow.remote_store)
        log.info("%s: %s on %s (%s)", step.name, step.backend.name, step.executor, decision.reason)
        started, clock = now(), time.perf_counter()
        with records.log_file(work / LOG):
            records.require_real(task)
            result = executor(task, step.backend, step.executor_params)
            require_sound(result, f"executor {step.executor!r}")
            assert result is not None  # require_sound raises for None
            records.require_unchanged(store, task, step.backend)
            lease.require_held()
        seconds = time.perf_counter() - clock
        price, why = _price(step, executor, seconds)
        record = records.build_record(
            task, step.backend, result, executor=step.executor, started=started, seconds=seconds, price=price, why=why
        )
        if not record.simulated:
            tracking.enqueue(self.flow, store, step, started)
        store.commit(output, record)
        log.info("%s: done in %.1f s %s", step.name, seconds, _brief(record))
        return record

    def _run_remotely(self, step: Step, decision: Decision) -> Record:
        """Run a step as a remote job, which commits its record to the bucket; its files are not downloaded."""
        store, executor = self.store, self.registry.executors[step.executor]
        work = store.work(step)
        work.mkdir(parents=True, exist_ok=True)
        self.note.write(work, store.folder(step))
        inputs = tuple(Input(self.done[need], store.folder(self.done[need])) for need in step.needs)
        for item in inputs:
            store.require_uploaded(item.record)
        replaces = decision.superseded.started if decision.superseded else None
        task = step.task(inputs, work, work / "output", remote_store=self.flow.remote_store, replaces=replaces)
        log.info("%s: %s on %s (%s)", step.name, step.backend.name, step.executor, decision.reason)
        records.require_real(task)
        tracking.enqueue_expected(self.flow, store, step, replaces)
        with records.log_file(work / LOG):
            executor(task, step.backend, step.executor_params)
            record = store.adopt_remote(step)
            if record is None:
                uri = self.flow.remote_store and self.flow.remote_store.uri
                hint = "Check that its role may write there, then run the same command again."
                raise PokeflowError(f"the job succeeded but wrote no record to {uri}. {hint}")
        if changed := changed_inputs(step, record, self.done):
            raise PokeflowError(f"another run produced it from a different {changed[0]}. Run the same command again.")
        log.info("%s: done in %.1f s %s", step.name, record.seconds, _brief(record))
        return record

    def _with_cost(self, step: Step, record: Record) -> Record:
        """Return the record with the cost of its machine, if it is known by now; a late bill is no failure."""
        executor = self.registry.executors.get(record.executor)
        if record.cost_usd is not None or executor is None or executor.bill is None:
            return record
        try:
            bill = executor.bill_of(
                record, step.executor_params if step.executor == record.executor else load_params(executor)()
            )
        except PokeflowError as error:
            log.warning("%s: its cost is not known yet: %s", record.task, error)
            return record
        if bill is None or (bill.cost_usd is None and record.reasons.get("cost_usd") == bill.reason):
            return record
        reasons = {name: reason for name, reason in record.reasons.items() if name != "cost_usd"}
        if bill.cost_usd is None:
            reasons["cost_usd"] = bill.reason
        environment = {**record.environment, **bill.environment}
        record = replace(record, cost_usd=bill.cost_usd, reasons=reasons, environment=environment)
        self.store.amend(record)
        return record


def _price(step: Step, executor: Executor, seconds: float) -> tuple[float | None, str]:
    """Return the cost of a machine for so many seconds in US dollars, and the reason to record if it is unknown."""
    if executor.price is None:
        return None, f"executor {step.executor!r} is not billed"
    return executor.price_of(step.executor_params, seconds), f"executor {step.executor!r} has no price"


def _failure(store: Store, step: Step, error: Exception) -> str:
    log.error("%s: failed", step.name)
    paths = (store.work(step) / LOG, store.folder(step) / LOG)
    hint = next((f"\n  log: {path}" for path in paths if path.exists()), "")
    return f"{step.name} failed: {error_message(error)}{hint}"


def _unavailable(store: Store, step: Step, error: UnavailableError) -> str:
    log.warning("%s: unavailable", step.name)
    output = store.work(step) / "output"
    ready = f"\n  files prepared for it: {output}" if output.is_dir() and any(output.iterdir()) else ""
    return f"{step.name} unavailable: {error_message(error)}{ready}"


def _brief(record: Record) -> str:
    if record.simulated:
        return "(simulated)"
    figures = [f"{k} {v:.4g}" for k, v in record.metrics.items() if v is not None]
    return f"({', '.join(figures[:4])})" if figures and record.stage != PREPARE else ""
