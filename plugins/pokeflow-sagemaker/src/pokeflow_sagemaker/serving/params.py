"""Parameters of serving: address, instances, container, account, prices."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pokeflow_sagemaker import machines
from pokeflow_sagemaker.aws.images import RAY_SERVE
from pokeflow_sagemaker.machines import Account, VpcConfig

MEMORIES = (1024, 2048, 3072, 4096, 5120, 6144)
"""Memory sizes of a serverless endpoint in MB."""
MAX_MB = 100
"""SageMaker's limit in MB for the concurrent requests of a batch transform job together, and so for one request."""
VARIANT = "main"
"""Variant name of every endpoint: AWS rolls back an update only if the old and the new variant have the same name."""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")


@dataclass(frozen=True, slots=True)
class ServeParams:
    """Address of the local server; port 0: any free port."""

    host: str = "127.0.0.1"
    port: int = 8080


@dataclass(frozen=True, slots=True)
class Serverless:
    """A serverless endpoint: its memory in MB, and the number of concurrent requests."""

    memory_mb: int = 4096
    concurrency: int = 5


@dataclass(frozen=True, slots=True)
class Rollback:
    """Automatic rollback of an update if a CloudWatch alarm goes off.

    Attributes:
        alarms: Names of the alarms; None: one that pokeflow creates, for server errors; empty: no rollback.
        bake_seconds: Seconds for which the alarms are watched after the traffic shift.

    """

    alarms: tuple[str, ...] | None = None
    bake_seconds: int = 120


@dataclass(frozen=True, slots=True)
class DeployParams:
    """Parameters of an endpoint.

    Attributes:
        account: Project, region, execution role, KMS key.
        name: Name of the endpoint; None: built from project and model.
        source: The deployed object: the model package in the registry, which must be approved; the bundle itself; or
            (``auto``) the model package if there is one, else the bundle.
        image: Image that serves a bundle; ``{account}`` and ``{region}`` in it are replaced.
        instance_type: Such as ``ml.m5.large``.
        instances: Number of instances.
        serverless: Whether the endpoint is serverless; instance type and number then have no effect.
        serverless_config: Memory and concurrency of a serverless endpoint.
        rollback: Automatic rollback of an update.
        network: The VPC; None: no VPC.
        prices: US dollars per hour by instance type; they take precedence over the plugin's table.

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
    network: VpcConfig | None = None
    prices: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransformParams:
    """Parameters of a batch transform job; it runs the same SageMaker model as an endpoint.

    Attributes:
        source: URI prefix of the images.
        destination: URI prefix of the responses.
        account: Project, region, execution role, KMS key.
        image: Image that serves a bundle; ``{account}`` and ``{region}`` in it are replaced.
        instance_type: Such as ``ml.m5.xlarge``.
        instances: Number of instances.
        at_once: Concurrent requests to each instance.
        network: The VPC; None: no VPC.
        prices: US dollars per hour by instance type; they take precedence over the plugin's table.

    """

    source: str = ""
    destination: str = ""
    account: Account = field(default_factory=Account)
    image: str = RAY_SERVE
    instance_type: str = "ml.m5.xlarge"
    instances: int = 1
    at_once: int = 4
    network: VpcConfig | None = None
    prices: dict[str, float] = field(default_factory=dict)


def payload(max_bytes: int, at_once: int) -> tuple[int, int]:
    """Return the largest request of a batch transform in MB, and the concurrent requests to each instance.

    Both are bounded so that their product stays within ``MAX_MB``.
    """
    megabytes = min(MAX_MB, max(1, math.ceil(max_bytes / 1e6)))
    return megabytes, max(1, min(at_once, MAX_MB // megabytes))


def check_serve(params: ServeParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of the local server's parameters, as (parameter name, message) pairs."""
    if not 0 <= params.port <= 65_535:
        yield "port", f"{params.port} is not between 0 and 65,535"


def check_deploy(params: DeployParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of an endpoint's parameters, as (parameter name, message) pairs."""
    yield from _machines(params)
    if params.name is not None and not _NAME.fullmatch(params.name):
        yield "name", f"{params.name!r} is not a valid endpoint name: at most 63 letters, digits and inner '-'"
    if params.serverless_config.memory_mb not in MEMORIES:
        choices = ", ".join(map(str, MEMORIES))
        yield "serverless_config.memory_mb", f"{params.serverless_config.memory_mb} is not one of {choices}"
    if not 1 <= params.serverless_config.concurrency <= 200:
        yield "serverless_config.concurrency", f"{params.serverless_config.concurrency} is not between 1 and 200"
    if not 0 <= params.rollback.bake_seconds <= 3600:
        yield "rollback.bake_seconds", f"{params.rollback.bake_seconds} is not between 0 and 3,600"
    if len(params.rollback.alarms or ()) > 10:
        yield "rollback.alarms", "are more than 10, SageMaker's limit"
    if params.serverless and params.network:
        yield "network", "a serverless endpoint has no VPC. Leave out network, or set serverless to false"


def check_transform(params: TransformParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of a transform job's parameters; prefixes may be empty, since the command line sets them."""
    yield from _machines(params)
    for name in ("source", "destination"):
        uri = getattr(params, name)
        if uri and not _PREFIX.fullmatch(uri):
            yield name, f"{uri!r} is not an S3 prefix: s3://bucket/prefix/"
    if not 1 <= params.at_once <= 100:
        yield "at_once", f"{params.at_once} is not between 1 and 100"


def _machines(params: DeployParams | TransformParams) -> Iterable[tuple[str, str]]:
    yield from machines.faults(params.instance_type, params.account, params.network, params.prices)
    if not 1 <= params.instances <= 100:
        yield "instances", f"{params.instances} is not between 1 and 100"
    if not re.fullmatch(r"\S{1,255}", params.image):
        yield "image", f"{params.image!r} is not the URI of a container image"
