"""What systemd hears of the service."""

import os
import select
import socket

import pytest

from pokeflow_edge.runtime import systemd

from ..conftest import serving
from .test_server import PICTURE, Gate, ask


@pytest.fixture
def heard(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "notify"))
        there.settimeout(20)
        yield there


def test_lines_arrive_as_one_datagram(heard, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", heard.getsockname())
    assert systemd.notify(systemd.READY, "STATUS=well")
    assert heard.recv(100) == b"READY=1\nSTATUS=well"


def test_an_address_without_a_file_is_reached_too(monkeypatch):
    name = f"pokeflow-edge-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert systemd.notify(systemd.STOPPING)
        assert there.recv(100) == b"STOPPING=1"


def test_a_listener_that_does_not_read_is_not_waited_for(heard, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", heard.getsockname())
    monkeypatch.setattr(systemd, "TIMEOUT", 0.01)
    assert systemd.notify(systemd.ALIVE)
    assert any(not systemd.notify(systemd.ALIVE) for _ in range(10_000))


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify", "/" + "x" * 200])
def test_where_nobody_listens_nothing_happens(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not systemd.notify(systemd.READY)


@pytest.mark.parametrize(
    ("asked", "whose", "seconds"),
    [("30000000", None, 30.0), ("500000", "own", 0.5), ("500000", "1", None), ("", None, None), ("0", None, None),
     ("-1", None, None), ("soon", None, None)],
)  # fmt: skip
def test_the_watchdogs_time_is_read_where_it_is_meant_for_this_process(asked, whose, seconds, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", asked)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if whose:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if whose == "own" else whose)
    assert systemd.watchdog_s() == seconds


def test_a_service_tells_that_it_is_ready_that_it_is_alive_and_that_it_stops(numpy_bundle, heard):
    env = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "300000"}
    with serving(numpy_bundle, env=env) as server:
        told = [heard.recv(100) for _ in range(4)]
        assert sorted(told[:2]) == [b"READY=1", b"WATCHDOG=1"]
        assert told[2:] == [b"WATCHDOG=1"] * 2
        server.process.terminate()
        assert server.process.wait(120) == 0
        while (last := heard.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"


def test_a_picture_that_never_ends_ends_the_signs_of_life(numpy_bundle, heard, tmp_path):
    """Systemd then starts the service anew. Signs sent before are heard first."""
    gate = Gate(tmp_path)
    env = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "150000"}
    with serving(numpy_bundle, gate.code, env, answer=0.2) as server:
        assert heard.recv(100)
        gate.shut()
        assert ask(server.port, body=PICTURE)[0] == 504
        while ask(server.port, "GET", "/health")[0] == 200 or select.select([heard], [], [], 0)[0]:
            heard.recv(100)
        heard.settimeout(0.3)  # six times what it waits
        with pytest.raises(TimeoutError):
            heard.recv(100)
        gate.open()
        heard.settimeout(20)
        assert heard.recv(100) == b"WATCHDOG=1"
