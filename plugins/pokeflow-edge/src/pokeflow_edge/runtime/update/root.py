"""The installation folder of a device: its releases, the link to the current one, and the state of updates."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import bundle

CURRENT, RELEASES, STATE, LOCK = "current", "releases", "state.json", "update.lock"


@dataclass(frozen=True, slots=True)
class State:
    """The state of the installed releases, each identified by its sequence.

    Attributes:
        good: Release that has answered; a failed trial is rolled back to it.
        previous: Release that was good before it.
        trial: Release that an update switches to and that has not yet answered.
        floor: Greatest sequence that was ever good. Releases up to it are rejected even if they are signed, since an
            old release would bring back its faults.
        failed: Releases that did not answer.

    """

    good: int | None = None
    previous: int | None = None
    trial: int | None = None
    floor: int = 0
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """An installation. Every change is one atomic rename; all other files in it may be incomplete."""

    folder: Path

    @property
    def downloads(self) -> Path:
        """Folder of archives that are being downloaded."""
        return self.folder / "downloads"

    @property
    def staging(self) -> Path:
        """Folder of the release that is being unpacked and tested."""
        return self.folder / "staging"

    def release(self, sequence: int) -> Path:
        """Return the folder of a release."""
        return self.folder / RELEASES / str(sequence)

    @property
    def current(self) -> int | None:
        """Sequence of the release that the link ``current`` names; None before the first one."""
        try:
            name = (self.folder / CURRENT).readlink().name
        except OSError:
            return None
        return int(name) if name.isascii() and name.isdecimal() else None

    def about(self, sequence: int) -> dict[str, Any]:
        """Return the ``bundle.json`` of an installed release; raise a PokeflowError if it is damaged."""
        folder = self.release(sequence)
        try:
            bundle_json = bundle.read(folder)
            _ = bundle_json["target"], bundle_json["model"]["name"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise PokeflowError(
                f"{folder / bundle.ABOUT}: damaged ({error}). Install the same release again, or run 'rollback'."
            ) from error
        return bundle_json

    def state(self) -> State:
        """Return the saved state; if it is lost or damaged, return one from the link ``current``."""
        try:
            raw = json.loads((self.folder / STATE).read_bytes())
            state = State(**{**{f.name: raw[f.name] for f in fields(State)}, "failed": tuple(raw["failed"])})
            numbers = (state.good, state.previous, state.trial, state.floor, *state.failed)
            if all(number is None or type(number) is int for number in numbers) and state.floor is not None:
                return state
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return State(good=self.current, floor=self.current or 0)

    def write(self, state: State) -> None:
        """Write the state to disk atomically."""
        draft = self.folder / f"{STATE}.new"
        with draft.open("w", encoding="utf-8") as out:
            json.dump(asdict(state), out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.folder / STATE)
        _sync(self.folder)

    def keep(self, staged: Path, sequence: int) -> None:
        """Move a tested folder to the releases, after all of it is synced to disk."""
        target = self.release(sequence)
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        os.sync()
        staged.rename(target)
        _sync(target.parent)

    def switch(self, sequence: int) -> None:
        """Point ``current`` to a release atomically: it always names a complete release, the old or the new one."""
        draft = self.folder / f"{CURRENT}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(f"{RELEASES}/{sequence}")
        draft.replace(self.folder / CURRENT)
        _sync(self.folder)

    def clear(self) -> None:
        """Remove the staging folder of an interrupted update."""
        if self.staging.exists():
            shutil.rmtree(self.staging)

    def prune(self, state: State) -> None:
        """Remove all releases except the current, good, previous and trial ones."""
        needed = {str(number) for number in (self.current, state.good, state.previous, state.trial)}
        for folder in (self.folder / RELEASES).glob("*"):
            if folder.name.isdecimal() and folder.name not in needed:
                shutil.rmtree(folder)

    def forget(self) -> None:
        """Remove downloaded archives, once no download remains to be resumed."""
        if self.downloads.exists():
            shutil.rmtree(self.downloads)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the installation against other updates; the lock is released with the process, however that ends."""
        if not self.folder.is_dir():
            raise PokeflowError(f"{self.folder}: no such installation. Run install.sh, or name its folder with --root.")
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise PokeflowError(f"{self.folder}: another update is running. Wait until it has finished.") from error
            yield


def _sync(folder: Path) -> None:
    """Sync a folder to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
