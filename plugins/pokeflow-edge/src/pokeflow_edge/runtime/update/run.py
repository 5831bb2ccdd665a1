"""The update procedure. After an interruption at any point ``current`` names a complete, tested release."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import download, releases, selftest, unpack
from pokeflow_edge.runtime.update.releases import Release, ReleaseRejectedError
from pokeflow_edge.runtime.update.root import Root, State
from pokeflow_edge.runtime.update.service import Service
from pokeflow_edge.runtime.update.sources import Source

Tried = Callable[[Path], str]
"""A self-test of an unpacked bundle, which returns the reason of a failure, else ''."""


def update(
    root: Root,
    source: Source,
    keys: Path,
    service: Service,
    *,
    older: bool = False,
    tried: Tried = selftest.run_self_test,
) -> str:
    """Install the release of a source if it is newer, or if the current one is damaged, and return a message.

    Args:
        root: The installation.
        source: The source of releases.
        keys: File of the trusted public keys.
        service: The service to restart.
        older: Accept a release that is older, or that failed before.
        tried: Self-test of the unpacked bundle.

    Raises:
        PokeflowError: If the release is rejected or does not answer; the device then serves the release it had before.

    """
    with root.lock():
        recover(root, service)
        release = releases.read(source, keys)
        mended = release.sequence == root.current and unpack.damage(root.release(release.sequence))
        if release.sequence == root.current and not mended:
            root.forget()
            return f"up to date: {release.label}."
        if not mended:
            _require_wanted(root, release, older=older)
        archive = download.fetch(source, release, root.downloads)
        staged = root.staging / str(release.sequence)
        try:
            about = unpack.unpack(archive, staged)
            _require_same(about, release)
            with _paused(root, about, service):
                if why := tried(staged):
                    raise ReleaseRejectedError(
                        f"{release.label}: does not pass its self-test: {why} Nothing was changed."
                    )
                root.keep(staged, release.sequence)
        finally:
            root.clear()
        _served(root, release.sequence, service)
        return f"mended: {release.label}; {mended}." if mended else f"installed: {release.label}."


def rollback(root: Root, service: Service) -> str:
    """Roll back to the release that was good before the current one, and return a message."""
    with root.lock():
        recover(root, service)
        previous = root.state().previous
        if previous is None or not root.release(previous).is_dir():
            raise PokeflowError(f"{root.folder}: there is no release to go back to.")
        _served(root, previous, service)
        return f"back at release {previous}."


def recover(root: Root, service: Service) -> None:
    """Finish an interrupted update: confirm its trial, roll it back, or drop it if it was never switched to."""
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
    """Raise NotTaken for a release that is for another target or model, installed, not newer, or failed here."""
    state, current = root.state(), root.current
    if current is not None:
        about = root.about(current)
        here = {"target": about["target"], "model": about["model"]["name"]}
        for name, value in here.items():
            if getattr(release, name) != value:
                raise ReleaseRejectedError(
                    f"{release.label}: this device has the {name} {value!r}. Nothing was changed."
                )
    if release.sequence in (state.good, state.previous):
        raise ReleaseRejectedError(f"{release.label}: is here already. The command 'rollback' goes back to it.")
    if older:
        return
    if release.sequence <= state.floor:
        raise ReleaseRejectedError(
            f"{release.label}: is not newer than {state.floor}, which this device has had. A person who wants it all "
            "the same says --allow-older."
        )
    if release.sequence in state.failed:
        raise ReleaseRejectedError(f"{release.label}: failed on this device before. --allow-older tries it again.")


def _require_same(about: Mapping[str, Any], release: Release) -> None:
    for name, value in (("target", about["target"]), ("version", about["version"]), ("model", about["model"]["name"])):
        if getattr(release, name) != value:
            raise ReleaseRejectedError(
                f"{release.label}: its bundle has the {name} {str(value)[:80]!r}. Nothing was changed."
            )
    if about.get("simulated"):
        raise ReleaseRejectedError(f"{release.label}: was made by a double of the compiler, and answers nothing real.")


@contextmanager
def _paused(root: Root, about: Mapping[str, Any], service: Service) -> Iterator[None]:
    """Stop the service during the block if only one process can hold the device; restart it if the block fails."""
    current = root.current
    if not about.get("exclusive") or not service.stop or current is None:
        yield
        return
    try:
        if why := service.stop_and_wait():
            raise PokeflowError(f"the service does not stop: {why}. Nothing was changed.")
        yield
    except BaseException:
        service.restart_and_wait(root.about(current))
        raise


def _served(root: Root, sequence: int, service: Service) -> None:
    """Switch to a release as trial, and confirm it if it answers."""
    state = replace(root.state(), trial=sequence)
    root.write(state)
    root.switch(sequence)
    _confirm(root, state, service)


def _confirm(root: Root, state: State, service: Service) -> None:
    """Make the trial the good release if it answers; else roll back and raise a PokeflowError."""
    assert state.trial is not None  # every caller has set it
    if why := service.restart_and_wait(root.about(state.trial)):
        if state.good in (None, state.trial):
            root.write(replace(state, trial=None))  # else no newer release could ever be installed
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
    """Roll back from the trial to the good release; the state is written first, so that ``recover`` can finish it."""
    assert state.good is not None  # a trial is marked as failed only if a good release exists
    root.write(state)
    root.switch(state.good)
    again = service.restart_and_wait(root.about(state.good))
    ended = replace(state, trial=None)
    root.write(ended)
    root.prune(ended)
    root.forget()
    back = f"Back at release {state.good}, which {f'does not answer either ({again})' if again else 'answers'}."
    raise PokeflowError(f"release {state.trial} does not answer ({why}). {back}")
