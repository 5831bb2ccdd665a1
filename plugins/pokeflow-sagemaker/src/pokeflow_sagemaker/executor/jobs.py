"""Training and processing jobs behind one interface: their names in the API, and how to find and stop a job."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor.params import Kind


@dataclass(frozen=True, slots=True)
class Names:
    """Names in SageMaker's API for one kind of job: operations, response keys and log group."""

    kind: str
    create: str
    describe: str
    stop: str
    list: str
    logs: str

    @property
    def name(self) -> str:
        """Key of the job's name."""
        return f"{self.kind}JobName"

    @property
    def status(self) -> str:
        """Key of the job's status."""
        return f"{self.kind}JobStatus"

    @property
    def summaries(self) -> str:
        """Key of a listing's items."""
        return f"{self.kind}JobSummaries"

    @property
    def arn(self) -> str:
        """Key of the job's ARN."""
        return f"{self.kind}JobArn"


NAMES: Mapping[Kind, Names] = {
    kind: Names(
        kind.capitalize(),
        f"create_{kind}_job",
        f"describe_{kind}_job",
        f"stop_{kind}_job",
        f"list_{kind}_jobs",
        f"/aws/sagemaker/{kind.capitalize()}Jobs",
    )
    for kind in ("training", "processing")
}
RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True)
class Job:
    """A job by its kind, name and region."""

    kind: Kind
    name: str
    region: str

    @property
    def label(self) -> str:
        """Kind and name of the job, for messages."""
        return f"{self.kind} job {self.name}"

    @property
    def console(self) -> str:
        """URL of the job in AWS's console."""
        page = "jobs" if self.kind == "training" else "processing-jobs"
        return f"https://{self.region}.console.aws.amazon.com/sagemaker/home?region={self.region}#/{page}/{self.name}"

    def describe(self) -> dict[str, Any]:
        """Return SageMaker's description of the job; raise a NotFoundError if it does not exist."""
        names = NAMES[self.kind]
        call = getattr(aws.client("sagemaker", self.region), names.describe)
        response: dict[str, Any] = aws.ask(call, self.label, **{names.name: self.name})
        return response

    def stop(self) -> None:
        """Request that the job stops; do nothing if it has ended or does not exist."""
        names = NAMES[self.kind]
        try:
            call = getattr(aws.client("sagemaker", self.region), names.stop)
            aws.ask(call, self.label, **{names.name: self.name})
        except aws.RefusedError as error:
            if error.code not in ("ValidationException", "ResourceNotFound"):
                raise


def attempts(kind: Kind, base: str, region: str) -> list[tuple[int, Job, str]]:
    """Return all attempts at a task so far.

    Args:
        kind: Training or processing.
        base: The name of the first attempt; see ``attempt_name``.
        region: AWS region.

    Returns:
        (number, job, status) of each attempt, in the order of the numbers.

    """
    names, client = NAMES[kind], aws.client("sagemaker", region)
    rows = []
    for item in aws.pages(client, names.list, names.summaries, f"{kind} jobs of {base}", NameContains=base):
        name = item[names.name]
        number = 1 if name == base else _number(name, base)
        if number:
            rows.append((number, Job(kind, name, region), item[names.status]))
    return sorted(rows, key=lambda attempt: attempt[0])


def attempt_name(base: str, number: int) -> str:
    """Return the job name of an attempt: ``base`` for the first, ``base-2`` for the second, and so on."""
    return base if number == 1 else f"{base}-{number}"


def _number(name: str, base: str) -> int:
    suffix = name.removeprefix(f"{base}-")
    return int(suffix) if suffix != name and suffix.isdecimal() else 0


def running(region: str) -> Iterator[str]:
    """Yield the names of pokeflow's jobs that run in this account and region."""
    for kind, names in NAMES.items():
        client, resource = aws.client("sagemaker", region), f"running {kind} jobs"
        for status in RUNNING:
            filters = {"NameContains": "pokeflow-", "StatusEquals": status}
            yield from (
                item[names.name] for item in aws.pages(client, names.list, names.summaries, resource, **filters)
            )


def task_uri(kind: Kind, described: Mapping[str, Any]) -> str:
    """Return the URI of a job's task folder; empty if the job is not pokeflow's."""
    if kind == "training":
        channels = described.get("InputDataConfig") or ()
        uris = [c["DataSource"]["S3DataSource"]["S3Uri"] for c in channels if c["ChannelName"] == "task"]
    else:
        inputs = described.get("ProcessingInputs") or ()
        uris = [i["S3Input"]["S3Uri"] for i in inputs if i["InputName"] == "task"]
    return str(uris[0]) if uris else ""


def attempts_uri(kind: Kind, described: Mapping[str, Any]) -> str:
    """Return the part of a job's task URI that depends on its inputs only."""
    return task_uri(kind, described).rstrip("/").rpartition("/")[0]


def seconds_of(kind: Kind, described: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the seconds that a job ran and those that are billed; None if SageMaker does not report them."""
    if kind == "training":
        return described.get("TrainingTimeInSeconds"), described.get("BillableTimeInSeconds")
    began, ended = described.get("ProcessingStartTime"), described.get("ProcessingEndTime")
    took = (ended - began).total_seconds() if began and ended else None
    return took, took


def pause(seconds: float) -> None:
    """Sleep between two polls."""
    time.sleep(seconds)
