"""Parameters of jobs: instances, container, account, and how the local process waits for them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pokeflow_sagemaker import machines
from pokeflow_sagemaker.machines import Account, VpcConfig

Kind = Literal["training", "processing"]
TRAINED = ("train", "distill")
"""Stages that run as training jobs unless the configuration says otherwise; all others run as processing jobs."""
END_OF_PROFILER = (
    "SageMaker's Debugger takes no new customers, and its Profiler ends on 2027-06-30. Remove profiler: stage "
    "'profile' measures with torch.profiler"
)
_MAX_SECONDS = 28 * 86_400
_TRAINS_ONLY = re.compile(r"ml\.(?:(?:c5n|p3dn|p4d|p4de|p5e|p5en|p6[a-z0-9-]*|trn[a-z0-9]*)\.[a-z0-9]+|p5\.48xlarge)")
"""Instance types that SageMaker offers for training jobs but not for processing jobs."""


@dataclass(frozen=True, slots=True)
class Container:
    """The container of a job.

    Attributes:
        image: URI of the image; None: AWS's PyTorch image.
        install: Whether pip installs the requirements that the image lacks when the job starts.
        processes: Training processes on each instance; None: one per GPU.

    """

    image: str | None = None
    install: bool = True
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Settings of the local process that waits for a job.

    Attributes:
        at_once: Most jobs of pokeflow that may run in this account and region; None: no limit.
        interrupted: Effect of Ctrl-C on the job: ask the user, leave it running, or stop it.
        poll_seconds: Polling interval in seconds.

    """

    at_once: int | None = None
    interrupted: Literal["ask", "leave", "stop"] = "ask"
    poll_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class JobParams:
    """Parameters of a training or processing job.

    Attributes:
        instance_type: Such as ``ml.m5.xlarge``.
        instance_count: Instances of a training stage; every other stage runs on one.
        volume_gb: Size of each instance's volume in GB.
        time_limit_seconds: Longest run time of the job.
        spot_wait_seconds: Uses managed spot instances (training jobs only), with so many seconds to wait for them in
            addition to the time limit; None: on demand.
        job: Kind of the job; None: a training job for training stages, a processing job for all others.
        container: Image, installation, processes.
        network: The VPC; None: no VPC.
        account: Project, region, execution role, KMS key.
        client: How the local process waits.
        prices: US dollars per hour by instance type; they take precedence over the plugin's table.
        profiler: Refused by ``check``, since AWS ends SageMaker's profiler.

    """

    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    volume_gb: int = 50
    time_limit_seconds: int = 86_400
    spot_wait_seconds: int | None = None
    job: Kind | None = None
    container: Container = field(default_factory=Container)
    network: VpcConfig | None = None
    account: Account = field(default_factory=Account)
    client: Client = field(default_factory=Client)
    prices: dict[str, float] = field(default_factory=dict)
    profiler: dict[str, Any] | None = None


def limit(params: JobParams) -> float:
    """Return the time limit of a job in seconds."""
    return float(params.time_limit_seconds)


def kind_of(params: JobParams, stage: str) -> Kind:
    """Return the kind of job that a stage's task runs as; some instance types exist for training jobs only."""
    trains = stage in TRAINED or _TRAINS_ONLY.fullmatch(params.instance_type)
    return params.job or ("training" if trains else "processing")


def check(params: JobParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that type checks cannot find, as (parameter name, message) pairs."""
    yield from machines.faults(params.instance_type, params.account, params.network, params.prices)
    if params.job == "processing" and _TRAINS_ONLY.fullmatch(params.instance_type):
        yield (
            "instance_type",
            f"SageMaker offers {params.instance_type} for training jobs only. Leave out job: processing",
        )
    ranges = (
        ("instance_count", params.instance_count, 1, 100),
        ("volume_gb", params.volume_gb, 1, 16_384),
        ("time_limit_seconds", params.time_limit_seconds, 60, _MAX_SECONDS),
        ("spot_wait_seconds", params.spot_wait_seconds or 0, 0, _MAX_SECONDS),
        ("container.processes", params.container.processes or 1, 1, 64),
        ("client.at_once", params.client.at_once or 1, 1, 1000),
    )
    for name, value, minimum, maximum in ranges:
        if not minimum <= value <= maximum:
            yield name, f"{value} is not between {minimum:,} and {maximum:,}"
    if params.client.at_once == 0:
        yield "client.at_once", "0 would let no job start. Set a positive number, or null for no limit"
    if not 0.05 <= params.client.poll_seconds <= 60:
        yield "client.poll_seconds", f"{params.client.poll_seconds} is not between 0.05 and 60"
    if params.profiler is not None:
        yield "profiler", END_OF_PROFILER
