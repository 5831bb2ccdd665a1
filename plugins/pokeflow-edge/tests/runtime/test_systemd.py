"""Messages of the service to systemd."""

import os
import select
import socket

import pytest

from pokeflow_edge.runtime import systemd

from ..conftest import serving
from .test_server import PICTURE, Gate, ask


@pytest.fixture
def notify_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "notify"))
        there.settimeout(20)
        yield there


def test_lines_arrive_as_one_datagram(notify_socket, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())
    assert systemd.notify(systemd.READY, "STATUS=well")
    assert notify_socket.recv(100) == b"READY=1\nSTATUS=well"


def test_abstract_socket_address_is_supported(monkeypatch):
    name = f"pokeflow-edge-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert systemd.notify(systemd.STOPPING)
        assert there.recv(100) == b"STOPPING=1"


def test_listener_that_does_not_read_is_not_waited_for(notify_socket, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())
    monkeypatch.setattr(systemd, "TIMEOUT", 0.01)
    assert systemd.notify(systemd.ALIVE)
    assert any(not systemd.notify(systemd.ALIVE) for _ in range(10_000))


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify", "/" + "x" * 200])
def test_notify_without_a_listener_does_nothing(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not systemd.notify(systemd.READY)


@pytest.mark.parametrize(
    ("usec", "owner", "seconds"),
    [("30000000", None, 30.0), ("500000", "own", 0.5), ("500000", "1", None), ("", None, None), ("0", None, None),
     ("-1", None, None), ("soon", None, None)],
)  # fmt: skip
def test_watchdog_time_is_read_if_meant_for_this_process(usec, owner, seconds, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if owner:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "own" else owner)
    assert systemd.watchdog_s() == seconds


def test_service_reports_ready_watchdog_and_stopping(numpy_bundle, notify_socket):
    env = {"NOTIFY_SOCKET": notify_socket.getsockname(), "WATCHDOG_USEC": "300000"}
    with serving(numpy_bundle, env=env) as server:
        messages = [notify_socket.recv(100) for _ in range(4)]
        assert sorted(messages[:2]) == [b"READY=1", b"WATCHDOG=1"]
        assert messages[2:] == [b"WATCHDOG=1"] * 2
        server.process.terminate()
        assert server.process.wait(120) == 0
        while (last := notify_socket.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"


def test_stuck_recognition_stops_the_watchdog_messages(numpy_bundle, notify_socket, tmp_path):
    """Systemd then restarts the service. Messages sent earlier are read first."""
    gate = Gate(tmp_path)
    env = {"NOTIFY_SOCKET": notify_socket.getsockname(), "WATCHDOG_USEC": "150000"}
    with serving(numpy_bundle, gate.code, env, answer=0.2) as server:
        assert notify_socket.recv(100)
        gate.shut()
        assert ask(server.port, body=PICTURE)[0] == 504
        while ask(server.port, "GET", "/health")[0] == 200 or select.select([notify_socket], [], [], 0)[0]:
            notify_socket.recv(100)
        notify_socket.settimeout(0.3)  # six times the interval between messages
        with pytest.raises(TimeoutError):
            notify_socket.recv(100)
        gate.open()
        notify_socket.settimeout(20)
        assert notify_socket.recv(100) == b"WATCHDOG=1"
