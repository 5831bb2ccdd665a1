"""Parameters of jobs: the machine, the container, and how this machine waits."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pokeflow_sagemaker import machines
from pokeflow_sagemaker.machines import Account, Network

Kind = Literal["training", "processing"]
TRAINED = ("train", "distill")
"""Stages that are training jobs unless the configuration says otherwise; all others are processing jobs."""
END_OF_PROFILER = (
    "SageMaker's Debugger takes no new customers, and its Profiler ends on 2027-06-30. Remove it: stage 'profile' "
    "measures with torch.profiler"
)
_LONGEST = 28 * 86_400
_TRAINS_ONLY = re.compile(r"ml\.(?:(?:c5n|p3dn|p4d|p4de|p5e|p5en|p6[a-z0-9-]*|trn[a-z0-9]*)\.[a-z0-9]+|p5\.48xlarge)")
"""Instance types that SageMaker has for training jobs and not for processing jobs."""


@dataclass(frozen=True, slots=True)
class Container:
    """The image that jobs run in, and how.

    ``image`` None is AWS's own for PyTorch. ``install``: what the code needs and the image lacks is installed by pip
    when the job begins. ``processes`` on each instance for training; None: one a device.
    """

    image: str | None = None
    install: bool = True
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """How this machine waits. ``at_once``: jobs of pokeflow in this account and region; None: as many as are started.

    ``interrupted``: what Ctrl-C does to the job.
    """

    at_once: int | None = None
    interrupted: Literal["ask", "leave", "stop"] = "ask"
    poll_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class JobParams:
    """A job's machine and everything around it.

    ``spot_wait_seconds`` makes it a spot job, which may wait so long for machines on top of its time limit; None: on
    demand. ``job`` None: a training job for what is trained, a processing job for all else. ``prices`` are US
    dollars an hour by instance type, on top of the table that comes with the plugin. ``profiler`` is refused: what it
    asked for ends.
    """

    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    volume_gb: int = 50
    time_limit_seconds: int = 86_400
    spot_wait_seconds: int | None = None
    job: Kind | None = None
    container: Container = field(default_factory=Container)
    network: Network | None = None
    account: Account = field(default_factory=Account)
    client: Client = field(default_factory=Client)
    prices: dict[str, float] = field(default_factory=dict)
    profiler: dict[str, Any] | None = None


def limit(params: JobParams) -> float:
    """Return the seconds that a job may take at most."""
    return float(params.time_limit_seconds)


def kind_of(params: JobParams, stage: str) -> Kind:
    """Return whether a stage's task is a training or a processing job; spot machines are for training jobs only."""
    trains = stage in TRAINED or _TRAINS_ONLY.fullmatch(params.instance_type)
    return params.job or ("training" if trains else "processing")


def check(params: JobParams) -> Iterable[tuple[str, str]]:
    """Find what is wrong with parameters that types cannot show."""
    yield from machines.faults(params.instance_type, params.account, params.network, params.prices)
    if params.job == "processing" and _TRAINS_ONLY.fullmatch(params.instance_type):
        yield "instance_type", f"SageMaker has {params.instance_type} for training jobs only. Leave out job: processing"
    ranges = (
        ("instance_count", params.instance_count, 1, 100),
        ("volume_gb", params.volume_gb, 1, 16_384),
        ("time_limit_seconds", params.time_limit_seconds, 60, _LONGEST),
        ("spot_wait_seconds", params.spot_wait_seconds or 0, 0, _LONGEST),
        ("container.processes", params.container.processes or 1, 1, 64),
        ("client.at_once", params.client.at_once or 1, 1, 1000),
    )
    for name, value, least, most in ranges:
        if not least <= value <= most:
            yield name, f"{value} is not between {least:,} and {most:,}"
    if params.client.at_once == 0:
        yield "client.at_once", "0 lets no job start. Give a number, or null for no limit"
    if not 0.05 <= params.client.poll_seconds <= 60:
        yield "client.poll_seconds", f"{params.client.poll_seconds} is not between 0.05 and 60"
    if params.profiler is not None:
        yield "profiler", END_OF_PROFILER
