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

SelfTest = Callable[[Path], str]
"""A self-test of an unpacked bundle, which returns the reason of a failure, else ''."""


def update(
    root: Root,
    source: Source,
    keys: Path,
    service: Service,
    *,
    older: bool = False,
    tried: SelfTest = selftest.run_self_test,
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
        damage = release.sequence == root.current and unpack.damage(root.release(release.sequence))
        if release.sequence == root.current and not damage:
            root.forget()
            return f"up to date: {release.label}."
        if not damage:
            _require_newer(root, release, older=older)
        archive = download.fetch(source, release, root.downloads)
        folder = root.staging / str(release.sequence)
        try:
            about = unpack.unpack(archive, folder)
            _require_match(about, release)
            with _stopped_service(root, about, service):
                if reason := tried(folder):
                    raise ReleaseRejectedError(f"{release.label}: fails its self-test: {reason} Nothing was changed.")
                root.keep(folder, release.sequence)
        finally:
            root.clear()
        _switch(root, release.sequence, service)
        return f"repaired: {release.label}; {damage}." if damage else f"installed: {release.label}."


def rollback(root: Root, service: Service) -> str:
    """Roll back to the release that was good before the current one, and return a message."""
    with root.lock():
        recover(root, service)
        previous = root.state().previous
        if previous is None or not root.release(previous).is_dir():
            raise PokeflowError(f"{root.folder}: there is no release to roll back to.")
        _switch(root, previous, service)
        return f"rolled back to release {previous}."


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


def _require_newer(root: Root, release: Release, *, older: bool) -> None:
    """Raise ReleaseRejectedError for a release of another target or model, installed, not newer, or failed before."""
    state, current = root.state(), root.current
    if current is not None:
        about = root.about(current)
        installed = {"target": about["target"], "model": about["model"]["name"]}
        for name, value in installed.items():
            if getattr(release, name) != value:
                raise ReleaseRejectedError(f"{release.label}: this device has {name} {value!r}. Nothing was changed.")
    if release.sequence in (state.good, state.previous):
        raise ReleaseRejectedError(f"{release.label}: already installed. Run 'rollback' to switch to it.")
    if older:
        return
    if release.sequence <= state.floor:
        raise ReleaseRejectedError(
            f"{release.label}: not newer than {state.floor}, which was installed before. To install it "
            "anyway, use --allow-older."
        )
    if release.sequence in state.failed:
        raise ReleaseRejectedError(
            f"{release.label}: failed on this device before. To try it again, use --allow-older."
        )


def _require_match(about: Mapping[str, Any], release: Release) -> None:
    for name, value in (("target", about["target"]), ("version", about["version"]), ("model", about["model"]["name"])):
        if getattr(release, name) != value:
            raise ReleaseRejectedError(
                f"{release.label}: its bundle has {name} {str(value)[:80]!r}. Nothing was changed."
            )
    if about.get("simulated"):
        raise ReleaseRejectedError(
            f"{release.label}: was produced by a simulator of the compiler and cannot be installed."
        )


@contextmanager
def _stopped_service(root: Root, about: Mapping[str, Any], service: Service) -> Iterator[None]:
    """Stop the service during the block if only one process can hold the device; restart it if the block fails."""
    current = root.current
    if not about.get("exclusive") or not service.stop or current is None:
        yield
        return
    try:
        if reason := service.stop_and_wait():
            raise PokeflowError(f"the service did not stop: {reason}. Nothing was changed.")
        yield
    except BaseException:
        service.restart_and_wait(root.about(current))
        raise


def _switch(root: Root, sequence: int, service: Service) -> None:
    """Switch to a release as trial, and confirm it if it answers."""
    state = replace(root.state(), trial=sequence)
    root.write(state)
    root.switch(sequence)
    _confirm(root, state, service)


def _confirm(root: Root, state: State, service: Service) -> None:
    """Make the trial the good release if it answers; else roll back and raise a PokeflowError."""
    assert state.trial is not None  # every caller has set it
    if reason := service.restart_and_wait(root.about(state.trial)):
        if state.good in (None, state.trial):
            root.write(replace(state, trial=None))  # else no newer release could ever be installed
            raise PokeflowError(
                f"release {state.trial} does not answer ({reason}), and there is no release to roll back to."
            )
        failed = tuple(dict.fromkeys((*state.failed, state.trial)))[-100:]
        _undo(root, replace(state, failed=failed), service, reason)
    previous = state.previous if state.good == state.trial else state.good
    failed = tuple(number for number in state.failed if number != state.trial)
    good = State(state.trial, previous, None, max(state.floor, state.trial), failed)
    root.write(good)
    root.prune(good)
    root.forget()


def _undo(root: Root, state: State, service: Service, reason: str = "an earlier update was interrupted") -> None:
    """Roll back from the trial to the good release; the state is written first, so that ``recover`` can finish it."""
    assert state.good is not None  # a trial is marked as failed only if a good release exists
    root.write(state)
    root.switch(state.good)
    failure = service.restart_and_wait(root.about(state.good))
    finished = replace(state, trial=None)
    root.write(finished)
    root.prune(finished)
    root.forget()
    outcome = (
        f"Rolled back to release {state.good}, which {f'does not answer either ({failure})' if failure else 'answers'}."
    )
    raise PokeflowError(f"release {state.trial} does not answer ({reason}). {outcome}")
