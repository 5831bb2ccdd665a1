"""The folder that a device serves from: the releases in it, the link to the current one, and the state of updates."""

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
    """What is known of the releases here, by their sequence.

    ``good`` has answered and is what a failed ``trial`` goes back to; ``previous`` was good before it. Nothing up to
    ``floor`` is installed any more, whatever is signed: an old release would bring back its faults. ``failed`` did
    not answer.
    """

    good: int | None = None
    previous: int | None = None
    trial: int | None = None
    floor: int = 0
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """An installation. Every change of it is one rename; whatever else lies around may be half done."""

    folder: Path

    @property
    def downloads(self) -> Path:
        """Archives on their way."""
        return self.folder / "downloads"

    @property
    def staging(self) -> Path:
        """The release that is being unpacked and tried."""
        return self.folder / "staging"

    def release(self, sequence: int) -> Path:
        """The folder of a release."""
        return self.folder / RELEASES / str(sequence)

    @property
    def current(self) -> int | None:
        """The release that the link names; None before the first one."""
        try:
            name = (self.folder / CURRENT).readlink().name
        except OSError:
            return None
        return int(name) if name.isascii() and name.isdecimal() else None

    def about(self, sequence: int) -> dict[str, Any]:
        """The ``bundle.json`` of a release that is here."""
        folder = self.release(sequence)
        try:
            told = bundle.read(folder)
            _ = told["target"], told["model"]["name"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise PokeflowError(
                f"{folder / bundle.ABOUT}: is damaged ({error}). Install the same release again, or go back with "
                "'rollback'."
            ) from error
        return told

    def state(self) -> State:
        """The state as it was written last; where it is lost or damaged, what the link says."""
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
        """Put the state on the disk in one step."""
        draft = self.folder / f"{STATE}.new"
        with draft.open("w", encoding="utf-8") as out:
            json.dump(asdict(state), out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.folder / STATE)
        _settle(self.folder)

    def keep(self, staged: Path, sequence: int) -> None:
        """Make a tried folder a release, once all of it is on the disk."""
        place = self.release(sequence)
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            shutil.rmtree(place)
        os.sync()
        staged.rename(place)
        _settle(place.parent)

    def switch(self, sequence: int) -> None:
        """Have ``current`` name this release: before, it names the old one whole, and after it this one."""
        draft = self.folder / f"{CURRENT}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(f"{RELEASES}/{sequence}")
        draft.replace(self.folder / CURRENT)
        _settle(self.folder)

    def clear(self) -> None:
        """Remove what an update left half done."""
        if self.staging.exists():
            shutil.rmtree(self.staging)

    def prune(self, state: State) -> None:
        """Remove the releases that nothing goes back to."""
        kept = {str(number) for number in (self.current, state.good, state.previous, state.trial)}
        for folder in (self.folder / RELEASES).glob("*"):
            if folder.name.isdecimal() and folder.name not in kept:
                shutil.rmtree(folder)

    def forget(self) -> None:
        """Remove archives, once nothing is to be gone on with."""
        if self.downloads.exists():
            shutil.rmtree(self.downloads)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes this installation meanwhile; the lock goes with the process, however that ends."""
        if not self.folder.is_dir():
            raise PokeflowError(f"{self.folder}: no such installation. Run install.sh, or name its folder with --root.")
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise PokeflowError(f"{self.folder}: another update is under way. Wait for it.") from error
            yield


def _settle(folder: Path) -> None:
    """Have a rename in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
