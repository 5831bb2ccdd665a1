"""Parameters of serving: the machines, the container, the account, prices."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pokeflow_sagemaker import machines
from pokeflow_sagemaker.aws.images import RAY_SERVE
from pokeflow_sagemaker.machines import Account, Network

MEMORIES = (1024, 2048, 3072, 4096, 5120, 6144)
"""Megabytes that a serverless endpoint may have."""
MOST_MB = 100
"""What SageMaker takes of a batch transform job in requests at once, and so in one."""
VARIANT = "main"
"""Of every endpoint: an update is only undone where the old and the new variant have one name."""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")


@dataclass(frozen=True, slots=True)
class ServeParams:
    """The address of the local server; port 0 is a free one."""

    host: str = "127.0.0.1"
    port: int = 8080


@dataclass(frozen=True, slots=True)
class Serverless:
    """An endpoint without machines of its own: the memory of one, and how many there may be at once."""

    memory_mb: int = 4096
    concurrency: int = 5


@dataclass(frozen=True, slots=True)
class Rollback:
    """When an update is undone: if an alarm of CloudWatch goes off while the new machines bake for so many seconds.

    ``alarms`` None: one that pokeflow makes, for the server's own errors; empty: none.
    """

    alarms: tuple[str, ...] | None = None
    bake_seconds: int = 120


@dataclass(frozen=True, slots=True)
class DeployParams:
    """An endpoint: ``instances`` machines of a type, or ``serverless``; ``name`` None is the project's and the model's.

    ``source`` says what is deployed: the package in the registry, which must be approved; the bundle as it is; or
    (``auto``) the package where there is one. ``image`` runs a bundle, ``{account}`` and ``{region}`` in it are
    replaced. ``prices`` are US dollars an hour by instance type, on top of the table that comes with the plugin.
    """

    account: Account = field(default_factory=Account)
    name: str | None = None
    source: Literal["auto", "package", "bundle"] = "auto"
    image: str = RAY_SERVE
    instance_type: str = "ml.m5.large"
    instances: int = 1
    serverless: bool = False
    serverless_config: Serverless = field(default_factory=Serverless)
    rollback: Rollback = field(default_factory=Rollback)
    network: Network | None = None
    prices: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransformParams:
    """A batch transform job from one prefix to another; what it runs is what an endpoint would.

    ``at_once``: requests to each machine at a time.
    """

    source: str = ""
    destination: str = ""
    account: Account = field(default_factory=Account)
    image: str = RAY_SERVE
    instance_type: str = "ml.m5.xlarge"
    instances: int = 1
    at_once: int = 4
    network: Network | None = None
    prices: dict[str, float] = field(default_factory=dict)


def payload(max_bytes: int, at_once: int) -> tuple[int, int]:
    """The megabytes of a batch transform's request, and how many of these each machine may be asked at a time."""
    megabytes = min(MOST_MB, max(1, math.ceil(max_bytes / 1e6)))
    return megabytes, max(1, min(at_once, MOST_MB // megabytes))


def check_serve(params: ServeParams) -> Iterable[tuple[str, str]]:
    """Find what is wrong with parameters that types cannot show."""
    if not 0 <= params.port <= 65_535:
        yield "port", f"{params.port} is not between 0 and 65,535"


def check_deploy(params: DeployParams) -> Iterable[tuple[str, str]]:
    """Find what is wrong with an endpoint's parameters."""
    yield from _machines(params)
    if params.name is not None and not _NAME.fullmatch(params.name):
        yield "name", f"{params.name!r} names no endpoint: at most 63 letters, digits and '-', none of these at an end"
    if params.serverless_config.memory_mb not in MEMORIES:
        known = ", ".join(map(str, MEMORIES))
        yield "serverless_config.memory_mb", f"{params.serverless_config.memory_mb} is none of {known}"
    if not 1 <= params.serverless_config.concurrency <= 200:
        yield "serverless_config.concurrency", f"{params.serverless_config.concurrency} is not between 1 and 200"
    if not 0 <= params.rollback.bake_seconds <= 3600:
        yield "rollback.bake_seconds", f"{params.rollback.bake_seconds} is not between 0 and 3,600"
    if len(params.rollback.alarms or ()) > 10:
        yield "rollback.alarms", "are more than 10, which is what SageMaker watches"
    if params.serverless and params.network:
        yield "network", "a serverless endpoint has none. Leave it out, or give the endpoint instances"


def check_transform(params: TransformParams) -> Iterable[tuple[str, str]]:
    """Find what is wrong with a transform job's parameters; prefixes come from the command line and may be empty."""
    yield from _machines(params)
    for name in ("source", "destination"):
        place = getattr(params, name)
        if place and not _PREFIX.fullmatch(place):
            yield name, f"{place!r} is no place in a bucket: s3://bucket/prefix/"
    if not 1 <= params.at_once <= 100:
        yield "at_once", f"{params.at_once} is not between 1 and 100"


def _machines(params: DeployParams | TransformParams) -> Iterable[tuple[str, str]]:
    yield from machines.faults(params.instance_type, params.account, params.network, params.prices)
    if not 1 <= params.instances <= 100:
        yield "instances", f"{params.instances} is not between 1 and 100"
    if not re.fullmatch(r"\S{1,255}", params.image):
        yield "image", f"{params.image!r} is no address of a container"
