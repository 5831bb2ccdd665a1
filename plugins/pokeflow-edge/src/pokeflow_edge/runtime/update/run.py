"""An update from beginning to end. Wherever it is cut off, ``current`` names a whole release that was tried."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import download, releases, selftest, unpack
from pokeflow_edge.runtime.update.releases import NotTaken, Release
from pokeflow_edge.runtime.update.root import Root, State
from pokeflow_edge.runtime.update.service import Service
from pokeflow_edge.runtime.update.sources import Source

Tried = Callable[[Path], str]
"""Tries an unpacked bundle: empty, or why it is not to be served."""


def update(
    root: Root, source: Source, keys: Path, service: Service, *, older: bool = False, tried: Tried = selftest.tried
) -> str:
    """Install what the source offers, if it is newer, and tell what was done.

    PokeflowError where it is not taken or did not come to answer; the device then serves what it served before.
    What is current and was damaged since is installed anew. ``older`` takes a release that is older, or that failed
    before.
    """
    with root.locked():
        recover(root, service)
        release = releases.read(source, keys)
        mended = release.sequence == root.current and unpack.damage(root.release(release.sequence))
        if release.sequence == root.current and not mended:
            root.forget()
            return f"up to date: {release.told}."
        if not mended:
            _require_wanted(root, release, older=older)
        archive = download.fetch(source, release, root.downloads)
        staged = root.staging / str(release.sequence)
        try:
            about = unpack.unpack(archive, staged)
            _require_same(about, release)
            with _paused(root, about, service):
                if why := tried(staged):
                    raise NotTaken(f"{release.told}: does not pass its self-test: {why} Nothing was changed.")
                root.keep(staged, release.sequence)
        finally:
            root.clear()
        _served(root, release.sequence, service)
        return f"mended: {release.told}; {mended}." if mended else f"installed: {release.told}."


def rollback(root: Root, service: Service) -> str:
    """Go back to the release that was good before the current one, and tell so."""
    with root.locked():
        recover(root, service)
        previous = root.state().previous
        if previous is None or not root.release(previous).is_dir():
            raise PokeflowError(f"{root.folder}: there is no release to go back to.")
        _served(root, previous, service)
        return f"back at release {previous}."


def recover(root: Root, service: Service) -> None:
    """Bring to its end what an update before left under way: a trial is confirmed, or undone."""
    state = root.state()
    root.clear()
    if state.trial is None:
        root.prune(state)
        return
    if state.trial in state.failed:
        _undo(root, state, service)
    elif state.trial == root.current:
        _confirm(root, state, service)
    else:
        root.write(replace(state, trial=None))


def _require_wanted(root: Root, release: Release, *, older: bool) -> None:
    """Refuse a release for another device, one that is not newer, and one that failed here."""
    state, current = root.state(), root.current
    if current is not None:
        about = root.about(current)
        here = {"target": about["target"], "model": about["model"]["name"]}
        for name, value in here.items():
            if getattr(release, name) != value:
                raise NotTaken(f"{release.told}: this device has the {name} {value!r}. Nothing was changed.")
    if release.sequence in (state.good, state.previous):
        raise NotTaken(f"{release.told}: is here already. The command 'rollback' goes back to it.")
    if older:
        return
    if release.sequence <= state.floor:
        raise NotTaken(
            f"{release.told}: is not newer than {state.floor}, which this device has had. A person who wants it all "
            "the same says --allow-older."
        )
    if release.sequence in state.failed:
        raise NotTaken(f"{release.told}: failed on this device before. --allow-older tries it again.")


def _require_same(about: Mapping[str, Any], release: Release) -> None:
    for name, value in (("target", about["target"]), ("version", about["version"]), ("model", about["model"]["name"])):
        if getattr(release, name) != value:
            raise NotTaken(f"{release.told}: its bundle has the {name} {str(value)[:80]!r}. Nothing was changed.")
    if about.get("simulated"):
        raise NotTaken(f"{release.told}: was made by a double of the compiler, and answers nothing real.")


@contextmanager
def _paused(root: Root, about: Mapping[str, Any], service: Service) -> Iterator[None]:
    """The service stands still meanwhile, where one process alone can hold the device; it goes on where this fails."""
    current = root.current
    if not about.get("exclusive") or not service.stop or current is None:
        yield
        return
    try:
        if why := service.stopped():
            raise PokeflowError(f"the service does not stop: {why}. Nothing was changed.")
        yield
    except BaseException:
        service.restarted(root.about(current))
        raise


def _served(root: Root, sequence: int, service: Service) -> None:
    """Put a release on trial, and keep it if it answers."""
    state = replace(root.state(), trial=sequence)
    root.write(state)
    root.switch(sequence)
    _confirm(root, state, service)


def _confirm(root: Root, state: State, service: Service) -> None:
    """Make the trial the good release, if it answers; else go back."""
    assert state.trial is not None  # whoever calls this has one
    if why := service.restarted(root.about(state.trial)):
        if state.good in (None, state.trial):
            root.write(replace(state, trial=None))  # else nothing newer could ever come
            raise PokeflowError(f"release {state.trial} does not answer ({why}), and there is none to go back to.")
        failed = tuple(dict.fromkeys((*state.failed, state.trial)))[-100:]
        _undo(root, replace(state, failed=failed), service, why)
    previous = state.previous if state.good == state.trial else state.good
    failed = tuple(number for number in state.failed if number != state.trial)
    good = State(state.trial, previous, None, max(state.floor, state.trial), failed)
    root.write(good)
    root.prune(good)
    root.forget()


def _undo(root: Root, state: State, service: Service, why: str = "an update before was cut off") -> None:
    """Go back from the trial to the good release; what failed is written first, so that this comes to its end."""
    assert state.good is not None  # else there is nothing to go back to
    root.write(state)
    root.switch(state.good)
    again = service.restarted(root.about(state.good))
    ended = replace(state, trial=None)
    root.write(ended)
    root.prune(ended)
    root.forget()
    back = f"Back at release {state.good}, which {f'does not answer either ({again})' if again else 'answers'}."
    raise PokeflowError(f"release {state.trial} does not answer ({why}). {back}")
