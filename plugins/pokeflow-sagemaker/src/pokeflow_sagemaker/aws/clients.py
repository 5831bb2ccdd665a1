"""Cached botocore clients of AWS's services, and the account, region and partition of the credentials."""

import functools
import os
from collections.abc import Callable
from typing import Any

from pokeflow import ConfigError, Fault
from pokeflow_sagemaker.aws.errors import ask, clean

ATTEMPTS = 8
"""Maximum attempts per request, unless AWS's settings say otherwise; the waits in between grow to 20 seconds."""


def region(explicit: str | None) -> str:
    """Return the explicit region, or else that of AWS's own settings; raise a ConfigError if neither is set."""
    region_name = (
        explicit
        or os.environ.get("AWS_REGION")
        or _with_valid_settings(lambda: _session(*_identity()).get_config_variable("region"))
    )
    if not region_name:
        raise ConfigError(
            [Fault("store.region", "no region is configured. Set it in YAML, in AWS_REGION, or in the AWS profile.")]
        )
    return str(region_name)


def client(service: str, region_name: str | None) -> Any:
    """Return the client of a service; it is cached for each region and set of AWS environment variables."""
    return _with_valid_settings(lambda: _client(service, region(region_name), *_identity()))


def account(region_name: str | None) -> str:
    """Return the number of the account that the credentials belong to."""
    return str(_caller_identity(region_name)["Account"])


def partition(region_name: str | None) -> str:
    """Return the partition in the caller's ARN: ``aws``, or that of China or of GovCloud."""
    return str(_caller_identity(region_name)["Arn"].split(":")[1])


def _caller_identity(region_name: str | None) -> dict[str, str]:
    identity: dict[str, str] = _with_valid_settings(lambda: _caller(region(region_name), *_identity()))
    return identity


def _with_valid_settings(work: Callable[[], Any]) -> Any:
    """Call a function and raise a ConfigError if AWS's settings (profile, file, region, number) are invalid."""
    from botocore.exceptions import BotoCoreError

    try:
        return work()
    except (BotoCoreError, ValueError) as error:
        message = f"{clean(str(error)).rstrip('.')}. Correct the AWS_… variables, AWS's files, or store.region."
        raise ConfigError([Fault("AWS's settings", message)]) from error


def _identity() -> tuple[tuple[tuple[str, str], ...], int]:
    """Return the cache key of a client: the AWS variables, and the process, since a fork must not share sockets."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))), os.getpid()


@functools.lru_cache(maxsize=8)
def _session(_aws: tuple[tuple[str, str], ...], _process: int) -> Any:
    from botocore.session import Session

    return Session()


@functools.lru_cache(maxsize=64)
def _client(service: str, region_name: str, aws: tuple[tuple[str, str], ...], process: int) -> Any:
    from botocore.config import Config

    session = _session(aws, process)
    attempts = session.get_config_variable("max_attempts") or ATTEMPTS
    mode = session.get_config_variable("retry_mode") or "standard"
    config = Config(
        retries={"mode": mode, "total_max_attempts": attempts}, connect_timeout=10, read_timeout=60, tcp_keepalive=True
    )
    return session.create_client(service, region_name=region_name, config=config)


@functools.lru_cache(maxsize=8)
def _caller(region_name: str, aws: tuple[tuple[str, str], ...], process: int) -> dict[str, str]:
    identity: dict[str, str] = ask(_client("sts", region_name, aws, process).get_caller_identity, "AWS account")
    return identity
