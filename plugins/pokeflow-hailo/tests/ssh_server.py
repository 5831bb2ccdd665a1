"""A real ssh server on the loopback, for the real ``ssh``: it lets one key in, and runs commands in an empty home."""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

NAME = "pi"


@dataclass
class Server:
    """The server's state, and the configuration by which ``ssh`` reaches it under the name ``pi``."""

    config: Path
    home: Path
    port: int
    loop: asyncio.AbstractEventLoop
    connections: list[asyncssh.SSHServerConnection]
    commands: list[str]

    def cut(self) -> None:
        """Break every connection, as a lost network does."""
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)

    def configure(self, key: str = "user_key", known_hosts: str = "known_hosts") -> None:
        folder = self.config.parent
        lines = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": "tester",
            "IdentityFile": folder / key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": folder / known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
        }
        text = f"Host {NAME}\n" + "".join(f"  {key} {value}\n" for key, value in lines.items())
        self.config.write_text(text)


def require_ssh() -> None:
    """Skip the test without the ssh client, or fail it where POKEFLOW_REQUIRE_SSH is set."""
    if shutil.which("ssh") is None:
        reason = "no ssh: install the package openssh-client (Debian: apt-get install openssh-client)"
        if os.environ.get("POKEFLOW_REQUIRE_SSH"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def ssh_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Start a server that ``ssh`` reaches through the variable that pokeflow reads."""
    require_ssh()
    folder = tmp_path / "ssh"
    home = tmp_path / "home"
    for directory in (folder, home, home / "tmp"):
        directory.mkdir()
    host_key, user_key, other_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    for name, key in (("user_key", user_key), ("other_key", other_key)):
        key.write_private_key(str(folder / name))
        (folder / name).chmod(0o600)
    user_key.write_public_key(str(folder / "authorized_keys"))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(folder / "config", home, 0, loop, [], [])

    async def started() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Remembering(server.connections),
            server_host_keys=[host_key],
            authorized_client_keys=str(folder / "authorized_keys"),
            process_factory=lambda process: handle(process, server),
            encoding=None,
            reuse_address=True,
        )

    acceptor = asyncio.run_coroutine_threadsafe(started(), loop).result(30)
    server.port = acceptor.sockets[0].getsockname()[1]
    public = host_key.export_public_key().decode().strip()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}\n")
    strange = other_key.export_public_key().decode().strip()
    (folder / "changed_hosts").write_text(f"[127.0.0.1]:{server.port} {strange}\n")
    server.configure()
    monkeypatch.setenv("POKEFLOW_SSH_CONFIG", str(server.config))
    try:
        yield server
    finally:

        async def stopped() -> None:
            acceptor.close()
            for connection in server.connections:
                connection.abort()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(others, timeout=10) if others else None

        asyncio.run_coroutine_threadsafe(stopped(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Remembering(asyncssh.SSHServer):
    """A server that remembers its connections."""

    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self.connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)


async def handle(process: asyncssh.SSHServerProcess, server: Server) -> None:
    """Have the login shell run the command, as sshd does: in the home, one socket being its input and its output.

    A process that keeps its input open thus keeps its output open as well, and the client waits.
    """
    assert process.command is not None
    server.commands.append(process.command)
    environment = os.environ | {"HOME": str(server.home), "TMPDIR": str(server.home / "tmp")}
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.create_subprocess_exec(
            *("sh", "-c", process.command),
            cwd=server.home,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=asyncio.subprocess.PIPE,
        )
    reader, writer = await asyncio.open_connection(sock=ours)
    feeder = asyncio.create_task(pump(process.stdin, writer))
    await asyncio.gather(pump(reader, process.stdout), pump(child.stderr, process.stderr))
    process.exit(await child.wait())
    feeder.cancel()
    writer.close()


async def pump(source: Any, target: Any) -> None:
    """Copy data until it ends, and end the target's input; data that the target no longer accepts is still read."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while part := await source.read(1 << 16):
            target.write(part)
            await target.drain()
    if isinstance(target, asyncio.StreamWriter):
        with contextlib.suppress(OSError):
            target.write_eof()
        return
    with contextlib.suppress(OSError):
        while await source.read(1 << 16):
            pass
