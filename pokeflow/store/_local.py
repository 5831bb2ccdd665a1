"""Where records and files live: a local folder, and a bucket behind it where results are shared with other machines.

tasks/<stage>/<model>/<digest>/   a finished task: its files and, written last, record.json: what makes it done
work/<stage>-<model>-<digest>/    a task under way: log.txt, telemetry/, checkpoints, output/ before it is committed
locks/<digest>.lock               held while a task is made, so that it is made once

The bucket has the same tasks/ and, as claims/, what locks/ is here.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow, Step
from pokeflow.objects import Objects, open_shared
from pokeflow.store import _lease as leases
from pokeflow.store import _remote as shared
from pokeflow.store._atomic import exclusively, write_atomically
from pokeflow.types import LOG, RECORD, SHARED_MARK, TASKS, TELEMETRY, File, Record, Shared, Task, task_prefix

log = logging.getLogger("pokeflow")
EARLIER = "record-"
"""Begins the name that the record of a replaced result is kept under: what was run is never forgotten."""
TRACKED, SHARED = "tracked.json", SHARED_MARK
"""Beside a record: what tracking answered, and the bucket that has it."""
_OWN = (RECORD, LOG, TELEMETRY, TRACKED, SHARED)
LATER = "%s is kept here and shared by a later run: %s"
_decoder = msgspec.json.Decoder(Record)
Named = Step | Record | Task
"""What has a stage, a model and a digest, and so a place in the store."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store below the local folder ``root``; with a ``remote``, that folder is its working copy."""

    root: Path
    remote: Objects | None = None

    @staticmethod
    def key(step: Named) -> str:
        """Where a step's result lies below the folder and in the bucket alike."""
        return step.path

    def folder(self, step: Named) -> Path:
        """Where a step's result lies once it is made."""
        return self.root / self.key(step)

    def work(self, step: Named) -> Path:
        """Where a step is being made; it outlives a kill."""
        return self.root / "work" / f"{step.stage}-{step.model}-{step.digest}"

    def load(self, step: Named) -> Record | None:
        """The record of a finished step; None where there is none, or where its files are not all there."""
        record = read_record(self.folder(step))
        return shared.load(self.remote, self.key(step)) if record is None and self.remote else record

    def fetch(self, record: Record) -> Path:
        """The folder of a finished task with its files on this machine."""
        folder = self.folder(record)
        if self.remote is None or read_record(folder) is not None:
            return folder
        with exclusively(self.root / "locks" / f"{record.digest}.lock", record.task):
            if read_record(folder) is not None:
                return folder
            draft = self.work(record) / f"fetched-{record.content}"
            shared.fetch(self.remote, self.key(record), record, draft)
            folder.parent.mkdir(parents=True, exist_ok=True)
            for file in _kept_records(folder):
                file.rename(draft / file.name)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        return folder

    def records(self, stage: str = "*", model: str = "*") -> Iterator[tuple[Record, Path]]:
        """Every finished task of a stage and a model on this machine, in no order."""
        for file in (self.root / TASKS).glob(f"{stage}/{model}/*/{RECORD}"):
            record = read_record(file.parent)
            if record is not None:
                yield record, file.parent

    def shared_records(self, stage: str, model: str | None = None) -> Iterator[Record]:
        """Every finished task of a stage, and a model, those that only other machines have too, in no order."""
        here = {record.digest: record for record, _ in self.records(stage, model or "*")}
        yield from here.values()
        for entry in self.remote.list(task_prefix(stage, model)) if self.remote else ():
            path, _, name = entry.key.rpartition("/")
            if name == RECORD and path.rpartition("/")[2] not in here:
                record = shared.load(self.remote, path) if self.remote else None
                if record is not None:
                    yield record

    def every_run(self) -> Iterator[tuple[Record, Path]]:
        """Every record on this machine, those of results that were replaced since among them, in no order."""
        for file in (self.root / TASKS).glob(f"*/*/*/{RECORD.partition('.')[0]}*.json"):
            try:
                yield _decoder.decode(file.read_bytes()), file.parent
            except (msgspec.MsgspecError, OSError, RecursionError) as error:
                log.warning("%s is not readable (%s) and is left out", file, error)

    @contextmanager
    def alone(self, step: Named) -> Iterator[None]:
        """Hold a step for this process alone among those of this machine."""
        with exclusively(self.root / "locks" / f"{step.digest}.lock", f"{step.stage}:{step.model}"):
            yield

    @contextmanager
    def claim(self, step: Step | Task) -> Iterator[leases.Claim]:
        """Hold a step for this process alone; wait, and say so, while another holds it. A kill lets go of it."""
        with self.alone(step):
            if self.remote is None:
                yield leases.Claim(step.name, "")
                return
            with leases.held(self.remote, self._claim(step), step.name) as claim:
                yield claim

    def begin(self, step: Step | Task) -> tuple[Path, Path]:
        """The work folder, with what an earlier attempt kept there, and an empty output folder inside it."""
        work = self.work(step)
        output = work / "output"
        if output.exists():
            shutil.rmtree(output)
        output.mkdir(parents=True)
        if not (self.folder(step) / RECORD).exists():
            # A kill between the rename and the record: what was told until then goes on from there.
            _move_beside(self.folder(step), work)
        return work, output

    def commit(self, output: Path, record: Record) -> Path:
        """Make a result final: the files in one rename, then the record; only then is the task done."""
        folder, work = self.folder(record), self.work(record)
        folder.parent.mkdir(parents=True, exist_ok=True)
        earlier: list[Path] = []
        if folder.exists():
            # Either a forced redo or what a kill left between the rename and the record. It goes with the work.
            replaced = work / "replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
            earlier = _kept_records(replaced)
        output.rename(folder)
        for file in earlier:
            file.rename(folder / file.name)
        _move_beside(work, folder)
        # A power cut may cost an unflushed record: what took a moment is made again sooner than it is flushed.
        write_atomically(folder / RECORD, shared.encoded(record), flush=record.seconds > 1)
        shutil.rmtree(work, ignore_errors=True)
        self._share(record)
        return folder

    def met(self, step: Named) -> Record | None:
        """The record that a job elsewhere left in the bucket; of what an earlier making left here its record stays."""
        assert self.remote
        record = shared.load(self.remote, self.key(step))
        folder = self.folder(step)
        here = read_record(folder)
        if here and record and (here.started, here.content) != (record.started, record.content):
            kept = {file.name for file in _kept_records(folder)}
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name not in kept:
                    path.unlink()
        if record:
            shutil.rmtree(self.work(step), ignore_errors=True)
        return record

    def require_shared(self, record: Record) -> None:
        """Nothing, if the bucket has a finished task; it is sent if need be, and a network that is away is an error."""
        assert self.remote
        self.share(record)
        there = shared.load(self.remote, self.key(record))
        if there is None or there.content != record.content:
            raise PokeflowError(
                f"{record.task} is not in {self.remote.uri}, where a job would read it. Run this again."
            )

    def amend(self, record: Record) -> None:
        """Write again a record that has learnt what its machine cost; nothing else of it may differ."""
        data = shared.encoded(record)
        if read_record(self.folder(record)) is not None:
            write_atomically(self.folder(record) / RECORD, data)
        if self.remote is not None:
            shared.amend(self.remote, self.key(record), record)

    def share(self, record: Record) -> None:
        """Share a finished task that this machine has, unless it was; a network that is away is a warning."""
        if self.remote is None or self._is_shared(record) or read_record(self.folder(record)) is None:
            return
        try:
            with leases.held(self.remote, self._claim(record), record.task):
                self._share(record)
        except PokeflowError as error:
            log.warning(LATER, record.task, error)

    def _share(self, record: Record) -> None:
        """The same by who holds the claim."""
        if self.remote is None:
            return
        try:
            shared.send(self.remote, self.key(record), self.folder(record), record)
        except PokeflowError as error:
            log.warning(LATER, record.task, error)
            return
        write_atomically(self.folder(record) / SHARED, msgspec.json.encode(self._mark(record)), flush=False)

    def _is_shared(self, record: Record) -> bool:
        try:
            return bool(msgspec.json.decode((self.folder(record) / SHARED).read_bytes()) == self._mark(record))
        except (OSError, msgspec.MsgspecError):
            return False

    def _mark(self, record: Record) -> dict[str, str]:
        return {"where": self.remote.uri if self.remote else "", "started": record.started}

    @staticmethod
    def _claim(step: Named) -> str:
        return f"claims/{step.digest}"


def of(flow: Flow) -> Store:
    """The store that a flow's results are in; nothing is asked of its bucket before something is read."""
    return open_at(flow.root, flow.shared, flow.connections)


def open_at(root: Path, shared: Shared | None, connections: int = 16) -> Store:
    """The store in a folder, with the bucket behind it, if there is one."""
    return Store(root, open_shared(shared, connections=connections) if shared else None)


def _kept_records(folder: Path) -> list[Path]:
    """The records of a replaced result, its own under a name of its own."""
    record = read_record(folder)
    if record is not None:
        moment = "".join(filter(str.isalnum, record.started))
        (folder / RECORD).rename(folder / f"{EARLIER}{moment}.json")
    return [file for file in (*sorted(folder.glob(f"{EARLIER}*.json")), folder / TRACKED) if file.is_file()]


def _move_beside(source: Path, target: Path) -> None:
    """Move a task's log and telemetry, unless there are some already."""
    for name in (LOG, TELEMETRY):
        if not (target / name).exists():
            with suppress(FileNotFoundError):
                (source / name).rename(target / name)


def read_record(folder: Path) -> Record | None:
    """The record in a folder, if it and every file that it names are there in full size."""
    try:
        record = _decoder.decode((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError, RecursionError) as error:
        log.warning("%s is not readable (%s): the task counts as not done", folder / RECORD, error)
        return None
    for file in record.files:
        try:
            if _inside(file.path) and (folder / file.path).stat().st_size == file.size:
                continue
        except (OSError, ValueError):
            pass
        log.warning("%s: %s is missing or cut short: the task counts as not done", folder, file.path)
        return None
    return record


def _inside(path: str) -> bool:
    """Whether a recorded path stays in its folder; a record from elsewhere may say anything."""
    return not path.startswith("/") and ".." not in path.split("/")


def list_files(folder: Path) -> tuple[File, ...]:
    """Every file below a folder with size and checksum, sorted by path; a link or a device is refused."""
    if not folder.is_dir():
        raise PokeflowError(f"{folder} is gone: the backend removed its output folder.")
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PokeflowError(f"{path}: a result holds plain files only, no links or devices.")
        if path.parent == folder and (path.name in _OWN or path.name.startswith(EARLIER)):
            raise PokeflowError(f"{path}: this name is kept for pokeflow's own files; choose another.")
        if path.is_file():
            found.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path)))
    return tuple(found)


def tracked(folder: Path) -> dict[str, dict[str, Any]]:
    """What tracking said of the runs that were made in a task's folder, by the moment each was started."""
    try:
        return msgspec.json.decode((folder / TRACKED).read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.MsgspecError):
        return {}
