"""Tells tracking and other plugins of finished tasks; what cannot be told now is kept and told by a later run."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import pluggy

from pokeflow.flow import Flow, Step
from pokeflow.store import TRACKED, Store, exclusively, read_record, write_atomically
from pokeflow.types import Input, Record, Result, Task
from pokeflow.worker import STOPPED

log = logging.getLogger("pokeflow")


def remember(flow: Flow, store: Store, step: Step) -> None:
    """Note, before a task is committed, that tracking must hear of it: a kill right after would else be final."""
    if flow.tracking:
        note = _notes(store) / f"{step.stage}-{step.model}-{step.digest}"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(store.folder(step).relative_to(store.root).as_posix(), encoding="utf-8")


def tell(flow: Flow, hook: pluggy.HookRelay, store: Store, step: Step, record: Record) -> None:
    """Tell of a task that just ran. Whatever goes wrong with those who hear it is a warning."""
    if flow.tracking:
        _track(flow, record, store.folder(step), _notes(store) / f"{step.stage}-{step.model}-{step.digest}")
    for impl in hook.pokeflow_task_finished.get_hookimpls():
        try:
            given = {"record": record, "folder": store.folder(step)}
            impl.function(**{name: given[name] for name in impl.argnames})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
            _let_stop(error)
            log.warning("%s: plugin %s failed on it: %s", step.name, impl.plugin_name, error)


def catch_up(flow: Flow, store: Store) -> None:
    """Track what earlier runs could not: they were killed, or the tracking server was away."""
    if flow.tracking is None or not _notes(store).is_dir():
        return
    with exclusively(store.root / "locks" / "untracked.lock", "tracking"):
        for note in sorted(_notes(store).iterdir()):
            try:
                folder = store.root / note.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                log.warning("%s is no note of a task to track (%s)", note, error)
                continue
            record = read_record(folder)
            if record is None:
                continue  # being made, or gone; it is noted anew when it is made
            if not _track(flow, record, folder, note):
                return  # still away: one wait is enough


def _track(flow: Flow, record: Record, folder: Path, note: Path) -> bool:
    assert flow.tracking
    backend, params = flow.tracking.backend, flow.tracking.params
    named = (backend.stage, backend.name, record.model, record.version, record.type, record.digest)
    try:
        # An observer reads the folder; it has none of its own to write to.
        answer = backend.run(Task(*named, params, (Input(record, folder),), note.parent, note.parent))
        _keep(folder / TRACKED, record, answer)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer cannot fail a run
        _let_stop(error)
        log.warning("%s: tracking in %s failed, a later run tries again: %s", record.task, backend.name, error)
        return False
    note.unlink(missing_ok=True)
    return True


def _keep(file: Path, record: Record, answer: object) -> None:
    """Keep what tracking said of a run, such as the run's id there, beside the record."""
    facts = dict(answer.facts) if isinstance(answer, Result) else {}
    write_atomically(file, msgspec.json.encode({**tracked(file.parent), record.started: facts}), flush=False)


def tracked(folder: Path) -> dict[str, dict[str, Any]]:
    """What tracking said of the runs that were made in a task's folder, by the moment each was started."""
    try:
        return msgspec.json.decode((folder / TRACKED).read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.MsgspecError):
        return {}


def _let_stop(error: BaseException) -> None:
    if isinstance(error, SystemExit) and error.code == STOPPED:
        raise error


def _notes(store: Store) -> Path:
    return store.root / "untracked"
