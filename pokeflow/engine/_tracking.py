"""Outbox that sends finished tasks to tracking and other plugins; unsent tasks are kept and sent later.

outbox/<stage>-<model>-<digest>-<moment>   a note: the folder of a task that is not sent to tracking yet
"""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pluggy

from pokeflow.errors import was_stopped
from pokeflow.flow import Flow, Service, Step
from pokeflow.store import EARLIER, TRACKED, Store, read_record, tracking_answers, try_file_lock, write_atomically
from pokeflow.types import Input, Record, Result, Task

log = logging.getLogger("pokeflow")

RETRY_SECONDS, RETRY_FACTOR = 60.0, 10
"""Pause of tracking after a failure: at least so many seconds, and so many times the duration of the failed call."""


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task of a note: its record, its folder, and the folder of its files, which no longer exists if replaced."""

    record: Record
    folder: Path
    files: Path


def enqueue(flow: Flow, store: Store, step: Step, started: str, replaces: str | None = None) -> None:
    """Write a note, before a task is committed, to send it to tracking: a kill after the commit would lose it."""
    if flow.tracking:
        note = _note(store, step, started)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{step.path}\n{started}\n{replaces or ''}\n", encoding="utf-8")


def enqueue_expected(flow: Flow, store: Store, step: Step, replaces: str | None) -> None:
    """Write a note, before a remote job runs a task, to send it to tracking whenever it is finished.

    ``replaces`` is the start time of the record that is replaced, and that must not be sent.
    """
    enqueue(flow, store, step, "", replaces)


class TrackingOutbox:
    """Outbox of one run, which sends tasks to tracking and plugins; their errors are only warnings.

    An unreachable tracking server delays a run once, not once per task: until the pause is over, tasks only leave
    their notes. So an outage costs a run at most a tenth of its time, however long either takes.
    """

    def __init__(self, flow: Flow, hook: pluggy.HookRelay, store: Store) -> None:
        self._tracking, self._hook, self._store = flow.tracking, hook, store
        self._retry_at = 0.0

    def track(self, step: Step, record: Record) -> None:
        """Send a task that just ran to tracking and plugins."""
        if self._tracking or self._hook.pokeflow_task_finished.get_hookimpls():
            self._store.fetch(record)  # a remote job may have produced the files
        folder = self._store.folder(step)
        if self._tracking and time.monotonic() >= self._retry_at:
            notes = (_note(self._store, step, moment) for moment in (record.started, ""))
            note = next((note for note in notes if note.exists()), None)
            if note is not None:
                self._send(self._tracking, note)
        for impl in self._hook.pokeflow_task_finished.get_hookimpls():
            try:
                values = {"record": record, "folder": folder}
                impl.function(**{name: values[name] for name in impl.argnames})
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
                _let_stop(error)
                log.warning("%s: plugin %s failed: %s", step.name, impl.plugin_name, error)

    def fetch_remote(self, step: Step, record: Record) -> None:
        """Download the files of a task whose remote job ended unobserved; ``finish`` sends it to tracking."""
        if self._tracking and _note(self._store, step, "").exists():
            self._store.fetch(record)

    def catch_up(self) -> None:
        """Send tasks left by this or an earlier run, which was killed or could not reach the server."""
        if self._tracking is None or not (notes := _waiting(self._store)):
            return
        for note in notes:
            if time.monotonic() < self._retry_at:
                break  # still unreachable: one timeout is enough
            self._send(self._tracking, note)

    def finish(self) -> None:
        """Send the remaining tasks at the end of the run, and log how many are left."""
        self.catch_up()
        if self._retry_at and (count := len(_waiting(self._store))):
            log.warning("tracking: %d unsent in %s; a later run sends them", count, _notes(self._store))

    def _send(self, tracking: Service, note: Path) -> None:
        """Send the task of a note to tracking, and remove the note."""
        with try_file_lock(self._store.root / "locks" / f"{note.name}.lock", wait=False) as is_locked:
            queued = _read_note(self._store, note) if is_locked and note.exists() else None
            if queued is None:
                return
            record = queued.record
            if record.simulated:  # the note was written for a remote job, which then used a simulator
                note.unlink(missing_ok=True)
                return
            clock = time.monotonic()
            backend, inputs = tracking.backend, (Input(record, queued.files),)
            # An observer only reads the task's folder; it has no folder of its own to write to.
            folder = note.parent
            task = Task.about(record, backend, tracking.params, inputs=inputs, work=folder, output=folder)
            try:
                response = backend(task)
                _save_response(queued.folder / TRACKED, record, response)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
                _let_stop(error)
                log.warning("%s: tracking in %s failed and is retried later: %s", record.task, backend.name, error)
                self._retry_at = time.monotonic() + max(RETRY_SECONDS, RETRY_FACTOR * (time.monotonic() - clock))
                os.utime(note)  # to the end of the queue: a note that always fails must not block others
            else:
                note.unlink(missing_ok=True)


def _waiting(store: Store) -> list[Path]:
    """Return the existing notes, in the order in which they were written or last tried."""
    try:
        notes = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(_notes(store)) if entry.is_file()]
    except FileNotFoundError:
        return []
    return [Path(path) for _, path in sorted(notes)]


def _read_note(store: Store, note: Path) -> QueuedTask | None:
    """Return the task of a note; None while it is running, or if it is gone, since a new run writes a new note."""
    try:
        path, started, superseded, *_ = [*note.read_text(encoding="utf-8").splitlines(), "", "", ""]
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s is not a note of a task to track (%s)", note, error)
        return None
    folder = store.root / path
    record = read_record(folder)
    if record is None or (not started and record.started == superseded):
        return None
    if started in ("", record.started):
        return QueuedTask(record, folder, folder)
    replaced = folder / f"{EARLIER}{_moment(started)}"
    try:
        earlier = msgspec.json.decode(replaced.with_name(f"{replaced.name}.json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        note.unlink(missing_ok=True)  # it was never committed, and the task has run again since
        return None
    return QueuedTask(earlier, folder, replaced)


def _save_response(file: Path, record: Record, response: object) -> None:
    """Save the response of tracking for a record, such as the id of its run there, next to the record."""
    facts = dict(response.facts) if isinstance(response, Result) else {}
    write_atomically(file, msgspec.json.encode({**tracking_answers(file.parent), record.started: facts}), flush=False)


def _let_stop(error: BaseException) -> None:
    if was_stopped(error):
        raise error


def _moment(started: str) -> str:
    return "".join(filter(str.isalnum, started))


def _note(store: Store, step: Step, started: str) -> Path:
    """Return the path of the note for a task started at this time or, if empty, for one that a remote job will run."""
    return _notes(store) / f"{step.stage}-{step.model}-{step.digest}-{_moment(started)}"


def _notes(store: Store) -> Path:
    return store.root / "outbox"
