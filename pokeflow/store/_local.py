"""Local store of records and files, optionally backed by a bucket that is shared with other machines.

tasks/<stage>/<model>/<digest>/   a finished task: its files and record.json, which is written last to mark it finished
work/<stage>-<model>-<digest>/    a running task: log.txt, telemetry/, checkpoints, output/ before it is committed
locks/<digest>.lock               held while a task runs, so that it runs only once at a time

The bucket has the same tasks/ folder; its leases/ folder corresponds to locks/.
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
from pokeflow.objects import ObjectStore, open_remote_store
from pokeflow.store import _lease as leases
from pokeflow.store import _remote
from pokeflow.store._atomic import file_lock, write_atomically
from pokeflow.types import LOG, RECORD, SHARED_MARK, TASKS, TELEMETRY, File, Record, RemoteStore, Task, task_prefix

log = logging.getLogger("pokeflow")
EARLIER = "record-"
"""Prefix of the file names under which records of replaced results are kept, so that no run is forgotten."""
TRACKED, SHARED = "tracked.json", SHARED_MARK
"""Files next to a record: the answers of the tracking service, and the mark that a bucket has the result."""
_RESERVED = (RECORD, LOG, TELEMETRY, TRACKED, SHARED)
UPLOAD_LATER = "%s is stored locally, and a later run uploads it: %s"
_decoder = msgspec.json.Decoder(Record)
HasTaskPath = Step | Record | Task
"""Types with a stage, a model and a digest, which determine a path in the store."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store in the local folder ``root``, which is a working copy of the object store ``remote`` if there is one."""

    root: Path
    remote: ObjectStore | None = None

    @staticmethod
    def key(step: HasTaskPath) -> str:
        """Return the path of a step's result relative to the store, the same locally and in the bucket."""
        return step.path

    def folder(self, step: HasTaskPath) -> Path:
        """Return the local folder for the result of a step."""
        return self.root / self.key(step)

    def work(self, step: HasTaskPath) -> Path:
        """Return the work folder of a step, which survives a kill."""
        return self.root / "work" / f"{step.stage}-{step.model}-{step.digest}"

    def load(self, step: HasTaskPath) -> Record | None:
        """Return the record of a finished step, from this machine or else the bucket; None if neither is complete."""
        record = read_record(self.folder(step))
        return _remote.load(self.remote, self.key(step)) if record is None and self.remote else record

    def fetch(self, record: Record) -> Path:
        """Return the local folder of a finished task, after downloading its files if necessary."""
        folder = self.folder(record)
        if self.remote is None or read_record(folder) is not None:
            return folder
        with file_lock(self.root / "locks" / f"{record.digest}.lock", record.task):
            if read_record(folder) is not None:
                return folder
            draft = self.work(record) / f"fetched-{record.content}"
            _remote.download(self.remote, self.key(record), record, draft)
            folder.parent.mkdir(parents=True, exist_ok=True)
            for file in _kept_records(folder):
                file.rename(draft / file.name)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        return folder

    def records(self, stage: str = "*", model: str = "*") -> Iterator[tuple[Record, Path]]:
        """Yield every local finished task of a stage and a model, in no particular order."""
        for file in (self.root / TASKS).glob(f"{stage}/{model}/*/{RECORD}"):
            record = read_record(file.parent)
            if record is not None:
                yield record, file.parent

    def shared_records(self, stage: str, model: str | None = None) -> Iterator[Record]:
        """Yield every finished task of a stage and optionally a model, local or in the bucket, in no order."""
        here = {record.path: record for record, _ in self.records(stage, model or "*")}
        yield from here.values()
        for entry in self.remote.list(task_prefix(stage, model)) if self.remote else ():
            path, _, name = entry.key.rpartition("/")
            if name == RECORD and path not in here:
                record = _remote.load(self.remote, path) if self.remote else None
                if record is not None:
                    yield record

    def all_records(self) -> Iterator[tuple[Record, Path]]:
        """Yield every local record, including those of replaced results, in no particular order."""
        for file in (self.root / TASKS).glob(f"*/*/*/{RECORD.partition('.')[0]}*.json"):
            try:
                yield _decoder.decode(file.read_bytes()), file.parent
            except (msgspec.MsgspecError, OSError, RecursionError) as error:
                log.warning("%s is not readable (%s) and is skipped", file, error)

    @contextmanager
    def lock(self, step: HasTaskPath) -> Iterator[None]:
        """Hold the lock of a step, which excludes other processes of this machine."""
        with file_lock(self.root / "locks" / f"{step.digest}.lock", f"{step.stage}:{step.model}"):
            yield

    @contextmanager
    def hold_lease(self, step: Step | Task) -> Iterator[leases.Lease]:
        """Hold a step exclusively across machines; wait, and log it, while it is taken. A kill releases it."""
        with self.lock(step):
            if self.remote is None:
                yield leases.Lease(step.name, "")
                return
            with leases.hold_lease(self.remote, self._lease_key(step), step.name) as lease:
                yield lease

    def begin(self, step: Step | Task) -> tuple[Path, Path]:
        """Return the work folder, with the files of an earlier attempt, and an empty output folder inside it."""
        work = self.work(step)
        output = work / "output"
        if output.exists():
            shutil.rmtree(output)
        output.mkdir(parents=True)
        if not (self.folder(step) / RECORD).exists():
            # After a kill between the rename and the record: continue the log and telemetry of that attempt.
            _move_log_and_telemetry(self.folder(step), work)
        return work, output

    def commit(self, output: Path, record: Record) -> Path:
        """Commit a result: move the files in one rename, then write the record, which marks the task as finished."""
        folder, work = self.folder(record), self.work(record)
        folder.parent.mkdir(parents=True, exist_ok=True)
        earlier: list[Path] = []
        if folder.exists():
            # Either a forced rerun, or left by a kill between the rename and the record. Removed with the work folder.
            replaced = work / "replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
            earlier = _kept_records(replaced)
        output.rename(folder)
        for file in earlier:
            file.rename(folder / file.name)
        _move_log_and_telemetry(work, folder)
        # A power cut may lose an unflushed record; rerunning a short task takes less time than a flush.
        write_atomically(folder / RECORD, _remote.encode_record(record), flush=record.seconds > 1)
        shutil.rmtree(work, ignore_errors=True)
        self._upload(record)
        return folder

    def adopt_remote(self, step: HasTaskPath) -> Record | None:
        """Return the record that a remote job wrote to the bucket; of an older local result, keep the record only."""
        assert self.remote
        record = _remote.load(self.remote, self.key(step))
        folder = self.folder(step)
        here = read_record(folder)
        if here and record and (here.started, here.content) != (record.started, record.content):
            names = {file.name for file in _kept_records(folder)}
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name not in names:
                    path.unlink()
        if record:
            shutil.rmtree(self.work(step), ignore_errors=True)
        return record

    def require_uploaded(self, record: Record) -> None:
        """Upload a finished task if necessary; raise a PokeflowError if the bucket does not have it afterwards."""
        assert self.remote
        self.upload(record)
        uploaded = _remote.load(self.remote, self.key(record))
        if uploaded is None or uploaded.content != record.content:
            raise PokeflowError(
                f"{record.task} is not in {self.remote.uri}, where a job would read it. Run the same command again."
            )

    def amend(self, record: Record) -> None:
        """Write a record again after the bill of its machine was added; nothing else in it may differ."""
        data = _remote.encode_record(record)
        if read_record(self.folder(record)) is not None:
            write_atomically(self.folder(record) / RECORD, data)
        if self.remote is not None:
            _remote.amend(self.remote, self.key(record), record)

    def upload(self, record: Record) -> None:
        """Upload a finished local task unless it was uploaded before; log a warning if the network is unreachable."""
        if self.remote is None or self._is_uploaded(record) or read_record(self.folder(record)) is None:
            return
        try:
            with leases.hold_lease(self.remote, self._lease_key(record), record.task):
                self._upload(record)
        except PokeflowError as error:
            log.warning(UPLOAD_LATER, record.task, error)

    def _upload(self, record: Record) -> None:
        """Upload a finished task like ``upload``, for a caller that holds the lease."""
        if self.remote is None:
            return
        try:
            _remote.upload(self.remote, self.key(record), self.folder(record), record)
        except PokeflowError as error:
            log.warning(UPLOAD_LATER, record.task, error)
            return
        write_atomically(self.folder(record) / SHARED, msgspec.json.encode(self._mark(record)), flush=False)

    def _is_uploaded(self, record: Record) -> bool:
        try:
            return bool(msgspec.json.decode((self.folder(record) / SHARED).read_bytes()) == self._mark(record))
        except (OSError, msgspec.MsgspecError):
            return False

    def _mark(self, record: Record) -> dict[str, str]:
        return {"where": self.remote.uri if self.remote else "", "started": record.started}

    @staticmethod
    def _lease_key(step: HasTaskPath) -> str:
        return f"leases/{step.digest}"


def open_for_flow(flow: Flow) -> Store:
    """Open the store of a flow's results; the bucket gets no request before something is read."""
    return open_at(flow.root, flow.remote_store, flow.connections)


def open_at(root: Path, remote_store: RemoteStore | None, connections: int = 16) -> Store:
    """Open the store in a local folder, backed by a bucket if ``remote_store`` is set."""
    return Store(root, open_remote_store(remote_store, connections=connections) if remote_store else None)


def _kept_records(folder: Path) -> list[Path]:
    """Return the files to keep of a replaced result, after renaming its record so that the name is unique."""
    record = read_record(folder)
    if record is not None:
        moment = "".join(filter(str.isalnum, record.started))
        (folder / RECORD).rename(folder / f"{EARLIER}{moment}.json")
    return [file for file in (*sorted(folder.glob(f"{EARLIER}*.json")), folder / TRACKED) if file.is_file()]


def _move_log_and_telemetry(source: Path, target: Path) -> None:
    """Move a task's log and telemetry to another folder, unless they exist there already."""
    for name in (LOG, TELEMETRY):
        if not (target / name).exists():
            with suppress(FileNotFoundError):
                (source / name).rename(target / name)


def read_record(folder: Path) -> Record | None:
    """Return the record in a folder; None unless it and every file it names exist with the recorded size."""
    try:
        record = _decoder.decode((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError, RecursionError) as error:
        log.warning("%s is not readable (%s): the task counts as unfinished", folder / RECORD, error)
        return None
    for file in record.files:
        try:
            inside = not file.path.startswith("/") and ".." not in file.path.split("/")  # a record is not trusted
            if inside and (folder / file.path).stat().st_size == file.size:
                continue
        except (OSError, ValueError):
            pass
        log.warning("%s: %s is missing or truncated: the task counts as unfinished", folder, file.path)
        return None
    return record


def list_files(folder: Path) -> tuple[File, ...]:
    """Return every file below a folder with size and checksum, sorted by path; raise an error for links and devices."""
    if not folder.is_dir():
        raise PokeflowError(f"{folder} is missing: the backend removed its output folder.")
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PokeflowError(f"{path}: a result may contain only regular files, no links or devices.")
        if path.parent == folder and (path.name in _RESERVED or path.name.startswith(EARLIER)):
            raise PokeflowError(f"{path}: this name is reserved for pokeflow's own files. Choose another.")
        if path.is_file():
            files.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path)))
    return tuple(files)


def tracking_answers(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the tracking service's answers about the runs of a task's folder, by the start time of each run."""
    try:
        return msgspec.json.decode((folder / TRACKED).read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.MsgspecError):
        return {}
