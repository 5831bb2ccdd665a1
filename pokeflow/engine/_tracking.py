"""Tells tracking and other plugins of finished tasks; what cannot be told now is kept and told later.

untracked/<stage>-<model>-<digest>-<moment>   a note: the folder of a task that tracking has yet to hear of
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
from pokeflow.store import EARLIER, TRACKED, Store, lock_file, read_record, tracked, write_atomically
from pokeflow.types import Input, Record, Result, Task

log = logging.getLogger("pokeflow")

PAUSE, PATIENCE = 60.0, 10
"""After a failure tracking is left alone for so many seconds, or so many times as long as the failure took."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a note tells of: a record, its task's folder, and where its files are: nowhere, if it was replaced since."""

    record: Record
    folder: Path
    files: Path


def remember(flow: Flow, store: Store, step: Step, started: str, replaces: str | None = None) -> None:
    """Note, before a task is committed, that tracking must hear of it: a kill right after would else be final."""
    if flow.tracking:
        note = _note(store, step, started)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{step.path}\n{started}\n{replaces or ''}\n", encoding="utf-8")


def expect(flow: Flow, store: Store, step: Step, replaces: str | None) -> None:
    """Note, before a job elsewhere makes a task, that tracking must hear of it, whenever it is made.

    ``replaces``: not of the record that was started then, for it is the one that is replaced.
    """
    remember(flow, store, step, "", replaces)


class Teller:
    """Tells of the tasks of one run. Whatever goes wrong with those who hear it is a warning.

    A tracking server that is away holds a run up once, not once a task: until the pause is over, tasks leave their
    notes and no more. So an outage costs a run a tenth of its time at most, however long either takes.
    """

    def __init__(self, flow: Flow, hook: pluggy.HookRelay, store: Store) -> None:
        self._tracking, self._hook, self._store = flow.tracking, hook, store
        self._again = 0.0

    def tell(self, step: Step, record: Record) -> None:
        """Tell of a task that just ran."""
        if self._tracking or self._hook.pokeflow_task_finished.get_hookimpls():
            self._store.fetch(record)  # a job elsewhere may have made it
        folder = self._store.folder(step)
        if self._tracking and time.monotonic() >= self._again:
            notes = (_note(self._store, step, moment) for moment in (record.started, ""))
            note = next((note for note in notes if note.exists()), None)
            if note is not None:
                self._send(self._tracking, note)
        for impl in self._hook.pokeflow_task_finished.get_hookimpls():
            try:
                given = {"record": record, "folder": folder}
                impl.function(**{name: given[name] for name in impl.argnames})
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
                _let_stop(error)
                log.warning("%s: plugin %s failed on it: %s", step.name, impl.plugin_name, error)

    def expected(self, step: Step, record: Record) -> None:
        """Bring the files of what was made elsewhere while nobody here was looking: the end of the run tells of it."""
        if self._tracking and _note(self._store, step, "").exists():
            self._store.fetch(record)

    def catch_up(self) -> None:
        """Track what could not be so far, in this run or an earlier one: it was killed, or the server was away."""
        if self._tracking is None or not (notes := _waiting(self._store)):
            return
        for note in notes:
            if time.monotonic() < self._again:
                break  # still away: one wait is enough
            self._send(self._tracking, note)

    def finish(self) -> None:
        """The same once more at the end of the run, and say what is left."""
        self.catch_up()
        if self._again and (kept := len(_waiting(self._store))):
            log.warning("tracking: %d kept in %s; a later run sends them", kept, _notes(self._store))

    def _send(self, tracking: Service, note: Path) -> None:
        """Track what a note tells of, and remove it."""
        with lock_file(self._store.root / "locks" / f"{note.name}.lock", wait=False) as mine:
            found = _noted(self._store, note) if mine and note.exists() else None
            if found is None:
                return
            record = found.record
            if record.simulated:  # a job elsewhere was expected to make it, and a double was what it found there
                note.unlink(missing_ok=True)
                return
            clock = time.monotonic()
            backend, inputs = tracking.backend, (Input(record, found.files),)
            # An observer reads the folder; it has none of its own to write to.
            place = note.parent
            task = Task.about(record, backend, tracking.params, inputs=inputs, work=place, output=place)
            try:
                answer = backend(task)
                _keep(found.folder / TRACKED, record, answer)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
                _let_stop(error)
                log.warning("%s: tracking in %s failed, it is tried again later: %s", record.task, backend.name, error)
                self._again = time.monotonic() + max(PAUSE, PATIENCE * (time.monotonic() - clock))
                os.utime(note)  # to the end of the queue: if it is at fault itself, it holds up no other
            else:
                note.unlink(missing_ok=True)


def _waiting(store: Store) -> list[Path]:
    """The notes there are, in the order in which they were left or last tried."""
    try:
        found = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(_notes(store)) if entry.is_file()]
    except FileNotFoundError:
        return []
    return [Path(path) for _, path in sorted(found)]


def _noted(store: Store, note: Path) -> Noted | None:
    """Return what a note tells of; None where that is being made, or gone: it is noted anew when it is made."""
    try:
        path, started, replaced_by_it, *_ = [*note.read_text(encoding="utf-8").splitlines(), "", "", ""]
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s is no note of a task to track (%s)", note, error)
        return None
    folder = store.root / path
    record = read_record(folder)
    if record is None or (not started and record.started == replaced_by_it):
        return None
    if started in ("", record.started):
        return Noted(record, folder, folder)
    replaced = folder / f"{EARLIER}{_moment(started)}"
    try:
        earlier = msgspec.json.decode(replaced.with_name(f"{replaced.name}.json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        note.unlink(missing_ok=True)  # it was never committed, and made again since
        return None
    return Noted(earlier, folder, replaced)


def _keep(file: Path, record: Record, answer: object) -> None:
    """Keep what tracking said of a run, such as the run's id there, beside the record."""
    facts = dict(answer.facts) if isinstance(answer, Result) else {}
    write_atomically(file, msgspec.json.encode({**tracked(file.parent), record.started: facts}), flush=False)


def _let_stop(error: BaseException) -> None:
    if was_stopped(error):
        raise error


def _moment(started: str) -> str:
    return "".join(filter(str.isalnum, started))


def _note(store: Store, step: Step, started: str) -> Path:
    """The note of a task that was started then; without a moment, of one that a job elsewhere is to make."""
    return _notes(store) / f"{step.stage}-{step.model}-{step.digest}-{_moment(started)}"


def _notes(store: Store) -> Path:
    return store.root / "untracked"
