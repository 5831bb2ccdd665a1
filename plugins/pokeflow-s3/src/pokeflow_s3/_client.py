"""The connection to an S3 server that all buckets of one configuration share."""

import functools
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Crew

ATTEMPTS = 10
"""How often a request is made, unless AWS's settings say otherwise, before its failure is told; the waits in between
grow to 20 seconds."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which S3 server: ``endpoint`` None is AWS, or what AWS's own variables say; ``connections`` at most at once.

    ``attempts`` holds where AWS's settings say nothing; ``timeout`` are the seconds that an answer may take.
    """

    endpoint: str | None = None
    region: str | None = None
    connections: int = 16
    attempts: int | None = None
    timeout: float = 60


@dataclass(slots=True, eq=False)
class Connection:
    """A client, made at its first use, and the threads that carry parts of large objects.

    ``parts`` counts the parts that may be in memory at once.
    """

    server: Server
    crew: Crew
    parts: threading.BoundedSemaphore
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: Any = None

    @property
    def client(self) -> Any:
        """The botocore client; PokeflowError where the endpoint is none."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = _client(self.server)
        return self._client


def connected(server: Server) -> Connection:
    """The connection to a server, the same one for every caller with the same AWS variables."""
    aws = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))
    # By process, for sockets must not be shared with a fork.
    return _connected(server, aws, os.getpid())


@functools.lru_cache(maxsize=8)
def _connected(server: Server, _aws: tuple[tuple[str, str], ...], _process: int) -> Connection:
    size = max(1, server.connections)
    return Connection(server, Crew(size, "s3"), threading.BoundedSemaphore(size))


def _client(server: Server) -> Any:
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    try:
        return _made(server)
    except ProfileNotFound:
        raise  # told where the request that needed it is
    except (BotoCoreError, ValueError) as error:
        said = str(error).rstrip(".")
        message = f"AWS's settings: {said}. Mend it in AWS's variables (AWS_…), its files, or store.region."
        raise PokeflowError(message) from error


def _made(server: Server) -> Any:
    import botocore
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    # What users set for boto3, in its variables or its configuration file, holds here as well.
    attempts = session.get_config_variable("max_attempts") or server.attempts or ATTEMPTS
    endpoint = server.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    s3: dict[str, Any] = {"addressing_style": "path"} if endpoint else {}
    if not endpoint.startswith("http://"):
        # TLS and the signed checksum of every body keep it whole; hashing it once more for the signature adds nothing.
        s3["payload_signing_enabled"] = False
    config = Config(
        retries={"mode": session.get_config_variable("retry_mode") or "standard", "total_max_attempts": attempts},
        # Parts travel beside the requests of those who wait for them.
        max_pool_connections=2 * max(1, server.connections),
        connect_timeout=min(10, server.timeout),
        read_timeout=server.timeout,
        tcp_keepalive=True,
        signature_version="s3v4",
        # Every body has a SHA-256 of ours, every answer is compared with one.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A small object costs a millisecond of this machine's time. These two are a tenth of it.
        user_agent=f"Botocore/{botocore.__version__} pokeflow",
        parameter_validation=False,
        s3=s3,
    )
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    try:
        client = session.create_client("s3", endpoint_url=server.endpoint, region_name=server.region, config=config)
    except ValueError as error:
        if not endpoint or "endpoint" not in str(error):
            raise
        raise PokeflowError(f"{server.endpoint or endpoint!r} is no endpoint: it begins with https://.") from error
    client.meta.events.register("before-call.s3", _send_at_once)
    return client


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Send a body with its headers: waiting for leave to do so costs a round trip, more than most bodies take."""
    params["headers"].pop("Expect", None)


def _moment(value: str) -> datetime:
    """A time of S3's, which writes one form in headers and another in listings; dateutil takes ten times as long."""
    moment = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
