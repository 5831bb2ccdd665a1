"""Where records and files live: a local folder. A record, written last, is what makes a task done.

tasks/<stage>/<model>/<digest>/   a finished task: its files and record.json
work/<stage>-<model>-<digest>/    a task under way: log.txt, checkpoints, output/ before it is committed
locks/<digest>.lock               held while a task is made, so that it is made once
published/<model>/<version>.json  the digest a version was published with
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.flow import Step
from pokeflow.types import File, Record

log = logging.getLogger("pokeflow")
RECORD, LOG = "record.json", "log.txt"
_decoder = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Store:
    """A local store below ``root``."""

    root: Path

    def folder(self, step: Step) -> Path:
        """Where a step's result lies once it is made."""
        return self.root / "tasks" / step.stage / step.model / step.digest

    def work(self, step: Step) -> Path:
        """Where a step is being made; it outlives a kill."""
        return self.root / "work" / f"{step.stage}-{step.model}-{step.digest}"

    def load(self, step: Step) -> Record | None:
        """The record of a finished step; None where there is none, or where its files are not all there."""
        return read_record(self.folder(step))

    def records(self, stage: str = "*", model: str = "*") -> Iterator[tuple[Record, Path]]:
        """Every finished task of a stage and a model, in no order."""
        for file in (self.root / "tasks").glob(f"{stage}/{model}/*/{RECORD}"):
            record = read_record(file.parent)
            if record is not None:
                yield record, file.parent

    @contextmanager
    def claim(self, step: Step) -> Iterator[None]:
        """Hold a step for this process alone; wait, and say so, while another holds it. A kill lets go of it."""
        with exclusively(self.root / "locks" / f"{step.digest}.lock", step.name):
            yield

    def begin(self, step: Step) -> tuple[Path, Path]:
        """The work folder, with what an earlier attempt kept there, and an empty output folder inside it."""
        work = self.work(step)
        output = work / "output"
        if output.exists():
            shutil.rmtree(output)
        output.mkdir(parents=True)
        return work, output

    def commit(self, step: Step, output: Path, record: Record) -> Path:
        """Make a result final: the files in one rename, then the record; only then is the task done."""
        folder = self.folder(step)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            # Either a forced redo or what a kill left between the rename and the record. It goes with the work.
            replaced = self.work(step) / "replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        output.rename(folder)
        with suppress(FileNotFoundError):
            # Beside the files, not among them: times in a log must not change the content's name.
            (self.work(step) / LOG).replace(folder / LOG)
        text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        # A power cut may cost an unflushed record: what took a moment is made again sooner than it is flushed.
        write_atomically(folder / RECORD, text, flush=record.seconds > 1)
        shutil.rmtree(self.work(step), ignore_errors=True)
        return folder

    def published(self, model: str, version: str) -> tuple[str, str] | None:
        """The digest and content a version was published with, or None."""
        file = self.root / "published" / model / f"{version}.json"
        try:
            fixed = msgspec.json.decode(file.read_bytes())
            return str(fixed["digest"]), str(fixed["content"])
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, KeyError, TypeError, OSError) as error:
            raise PokeflowError(f"{file}: damaged ({error}). Restore it: it says what {version} is.") from error

    def publish(self, model: str, version: str, digest: str, content: str) -> None:
        """Fix a version to a digest and its content for good; PokeflowError where it is fixed to others."""
        file = self.root / "published" / model / f"{version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{version}.{os.getpid()}")
        fixed = {"model": model, "version": version, "digest": digest, "content": content}
        write_atomically(draft, msgspec.json.encode(fixed) + b"\n")
        try:
            # A link fails where the name exists: of two publishers exactly one is first.
            os.link(draft, file)
        except FileExistsError:
            if (first := self.published(model, version)) != (digest, content):
                raise PokeflowError(
                    f"{model} {version} is published as {first}, not as {(digest, content)}. Raise its version."
                ) from None
        finally:
            draft.unlink()


@contextmanager
def exclusively(file: Path, what: str) -> Iterator[None]:
    """Hold a lock file for this process alone; the system lets go of it when the process ends, however it ends."""
    from filelock import FileLock, Timeout

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process is making it, waiting", what)
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        # Removed while it is held: a waiter sees that its file is gone and looks for the lock again.
        file.unlink(missing_ok=True)
        lock.release()


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
        if path.parent == folder and path.name in (RECORD, LOG):
            raise PokeflowError(f"{path}: this name is kept for pokeflow's own {path.name}; choose another.")
        if path.is_file():
            found.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path)))
    return tuple(found)


def write_atomically(file: Path, data: bytes, *, flush: bool = True) -> None:
    """Put bytes under a name in one step: a reader sees the old file or the new one, whole; flushed: on the disk."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with draft.open("wb") as out:
        out.write(data)
        if flush:
            out.flush()
            os.fsync(out.fileno())
    draft.replace(file)
