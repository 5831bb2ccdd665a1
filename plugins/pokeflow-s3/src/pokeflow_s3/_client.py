"""Connection to an S3 server, shared by all buckets of one configuration."""

import functools
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import DaemonPool

ATTEMPTS = 10
"""Maximum number of attempts for a request, unless AWS's settings define it; waits in between grow to 20 seconds."""


@dataclass(frozen=True, slots=True)
class Server:
    """Address of an S3 server, and the limits for requests to it.

    ``endpoint`` None is AWS, or the server set by AWS's own variables. ``connections`` is the maximum number of
    simultaneous requests. ``attempts`` applies if AWS's settings define none. ``timeout`` is the maximum number of
    seconds to wait for a response.
    """

    endpoint: str | None = None
    region: str | None = None
    connections: int = 16
    attempts: int | None = None
    timeout: float = 60


@dataclass(slots=True, eq=False)
class Connection:
    """A client, which is created at its first use, and the threads that transfer parts of large objects.

    ``parts`` limits the number of parts that are in memory at once.
    """

    server: Server
    pool: DaemonPool
    parts: threading.BoundedSemaphore
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _client: Any = None

    @property
    def client(self) -> Any:
        """Client of botocore, created at the first use; raises a PokeflowError if the settings are invalid."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = _client(self.server)
        return self._client


def connection_to(server: Server) -> Connection:
    """Return the connection to a server, the same one for all callers with the same AWS variables."""
    aws = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))
    # One connection per process, as sockets must not be shared with a fork.
    return _open_connection(server, aws, os.getpid())


@functools.lru_cache(maxsize=8)
def _open_connection(server: Server, _aws: tuple[tuple[str, str], ...], _process: int) -> Connection:
    size = max(1, server.connections)
    return Connection(server, DaemonPool(size, "s3"), threading.BoundedSemaphore(size))


def _client(server: Server) -> Any:
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    try:
        return _create_client(server)
    except ProfileNotFound:
        raise  # reported with the URI of the request that needs it
    except (BotoCoreError, ValueError) as error:
        reason = str(error).rstrip(".")
        message = f"AWS's settings: {reason}. Correct AWS's variables (AWS_…), its configuration files or store.region."
        raise PokeflowError(message) from error


def _create_client(server: Server) -> Any:
    import botocore
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    # Settings for boto3, in its variables or its configuration file, apply here as well.
    attempts = session.get_config_variable("max_attempts") or server.attempts or ATTEMPTS
    endpoint = server.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    s3: dict[str, Any] = {"addressing_style": "path"} if endpoint else {}
    if not endpoint.startswith("http://"):
        # TLS and the signed checksum of every body protect it; hashing it once more for the signature adds nothing.
        s3["payload_signing_enabled"] = False
    config = Config(
        retries={"mode": session.get_config_variable("retry_mode") or "standard", "total_max_attempts": attempts},
        # Transfers of parts run at the same time as the requests of the threads that wait for them.
        max_pool_connections=2 * max(1, server.connections),
        connect_timeout=min(10, server.timeout),
        read_timeout=server.timeout,
        tcp_keepalive=True,
        signature_version="s3v4",
        # This package adds a SHA-256 to every body and compares every response with one.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A small object takes a millisecond of CPU time; these two settings save a tenth of it.
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
        raise PokeflowError(
            f"{server.endpoint or endpoint!r} is not a valid endpoint. Use a URL such as https://host."
        ) from error
    client.meta.events.register("before-call.s3", _send_at_once)
    return client


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Remove the header ``Expect``, so that a body is sent with its headers, without waiting for a round trip."""
    params["headers"].pop("Expect", None)


def _moment(value: str) -> datetime:
    """Parse a time from S3, in the format of headers or that of listings; ten times faster than dateutil."""
    moment = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
