"""Updates that are killed at every change of the disk, or whose disk is full."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow_edge.runtime.update import root as roots


def outcomes(device, sick=0, *words):
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(device.root.folder), str(device.maker.folder), str(sick), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert not results[-1]["killed"]
    assert len(results) > 30
    return results


def require_ended(one):
    assert one["ends"][-1] == "done", one
    assert one["now"] == 200, one
    assert one["left"] == ["current", "releases", "state.json"], one
    assert one["releases"] == ["100", "200"], one


@pytest.mark.slow
def test_update_completes_after_a_kill_at_any_point(device):
    device.maker.release(200)
    results = outcomes(device)
    assert {one["then"] for one in results} == {100, 200}
    for one in results:
        require_ended(one)
        assert one["ends"] == ["done", "done"], one
        # A release that is current but unconfirmed is on trial, so that the next update checks it.
        assert one["then"] == 100 or one["trial"] in (200, None), one


@pytest.mark.slow
def test_rollback_completes_after_a_kill_at_any_point(device):
    device.maker.release(200)
    results = outcomes(device, 200)
    assert {one["then"] for one in results} == {100, 200}
    for one in results:
        assert one["now"] == 100, one
        assert one["releases"] == ["100"], one
        assert one["ends"][-1].startswith("small v200 for cpu, release 200: failed on this device before"), one
        assert set(one["left"]) - {"downloads"} == {"current", "releases", "state.json"}, one


@pytest.mark.slow
def test_killed_first_installation_can_be_repeated(empty):
    empty.maker.release(100)
    results = outcomes(empty)
    assert {one["then"] for one in results} == {None, 100}
    assert {one["now"] for one in results} == {100}


@pytest.mark.long
@pytest.mark.parametrize("sick", [0, 200])
def test_update_killed_twice_completes(device, sick):
    """The second process is killed as well, during its recovery."""
    device.maker.release(200)
    for one in outcomes(device, sick, "twice"):
        if not sick:
            require_ended(one)
        assert one["now"] == (100 if sick else 200), one


COMMAND = [sys.executable, "-m", "pokeflow_edge.runtime.update", "--restart", "", "--stop", ""]


def command(device, **more):
    words = [*COMMAND, "--from", str(device.maker.folder), "--root", str(device.root.folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 64, 512, 4096, 30_000])
def test_full_disk_is_reported_and_old_release_stays(device, limit):
    device.maker.release(200)
    before = device.snapshot()

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    done = command(device, preexec_fn=limit_file_size)
    assert done.returncode == 1
    assert os.strerror(errno.EFBIG) in done.stderr
    assert "Traceback" not in done.stderr
    assert "Correct this, and run the command again." in done.stderr
    assert device.snapshot() == before
    assert device.require_whole() == 100
    assert not device.root.staging.exists()
    assert command(device).returncode == 0
    assert device.require_whole() == 200


OPENED = 9
"""Number of files that an update writes: the archive, six of the bundle, the state before and after the trial."""


@pytest.mark.parametrize("room", range(OPENED + 2))
def test_disk_full_at_any_write_leaves_a_whole_release(device, monkeypatch, room):
    """Every write from the ``room``-th file on fails; an interrupted update needs no further space to recover."""
    device.maker.release(200)
    opens, left = Path.open, [room]

    def full(self, mode="r", *args, **more):
        if any(sign in mode for sign in "wxa") and self.name != roots.LOCK:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return opens(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    service = device.service()
    with contextlib.suppress(OSError):
        device.update(service)
    assert (left[0] < 0) == (room < OPENED), left
    monkeypatch.undo()
    assert device.require_whole() in (100, 200)
    assert device.root.staging.exists() is False
    device.update(service)
    assert device.require_whole() == 200
    assert service.events[-1] == 200
