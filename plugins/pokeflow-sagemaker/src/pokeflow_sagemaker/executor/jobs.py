"""Training and processing jobs as one thing: what each calls its parts, and how a job is found, made and stopped."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor.params import Kind


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one kind of job in SageMaker's requests and answers."""

    kind: str
    create: str
    describe: str
    stop: str
    list: str
    logs: str

    @property
    def name(self) -> str:
        """The key of the job's name."""
        return f"{self.kind}JobName"

    @property
    def status(self) -> str:
        """The key of the job's status."""
        return f"{self.kind}JobStatus"

    @property
    def summaries(self) -> str:
        """The key of a listing's items."""
        return f"{self.kind}JobSummaries"

    @property
    def arn(self) -> str:
        """The key of the job's ARN."""
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
    def what(self) -> str:
        """What errors call it."""
        return f"{self.kind} job {self.name}"

    @property
    def console(self) -> str:
        """Where a person looks at it."""
        page = "jobs" if self.kind == "training" else "processing-jobs"
        return f"https://{self.region}.console.aws.amazon.com/sagemaker/home?region={self.region}#/{page}/{self.name}"

    def describe(self) -> dict[str, Any]:
        """All that SageMaker tells of it; Missing where it is not known."""
        names = NAMES[self.kind]
        call = getattr(aws.client("sagemaker", self.region), names.describe)
        answer: dict[str, Any] = aws.ask(call, self.what, **{names.name: self.name})
        return answer

    def stop(self) -> None:
        """Ask it to stop; one that has ended is left as it is."""
        names = NAMES[self.kind]
        try:
            call = getattr(aws.client("sagemaker", self.region), names.stop)
            aws.ask(call, self.what, **{names.name: self.name})
        except aws.RefusedError as error:
            if error.code not in ("ValidationException", "ResourceNotFound"):
                raise


def attempts(kind: Kind, base: str, region: str) -> list[tuple[int, Job, str]]:
    """The attempts at a task that were made so far, oldest first: their numbers, the jobs, and their statuses."""
    names, client = NAMES[kind], aws.client("sagemaker", region)
    found = []
    for item in aws.pages(client, names.list, names.summaries, f"{kind} jobs of {base}", NameContains=base):
        name = item[names.name]
        number = 1 if name == base else _number(name, base)
        if number:
            found.append((number, Job(kind, name, region), item[names.status]))
    return sorted(found, key=lambda attempt: attempt[0])


def attempt_name(base: str, number: int) -> str:
    """The name of an attempt; the first one has the base's."""
    return base if number == 1 else f"{base}-{number}"


def _number(name: str, base: str) -> int:
    rest = name.removeprefix(f"{base}-")
    return int(rest) if rest != name and rest.isdecimal() else 0


def running(region: str) -> Iterator[str]:
    """The names of pokeflow's jobs that run in this account and region."""
    for kind, names in NAMES.items():
        client, what = aws.client("sagemaker", region), f"running {kind} jobs"
        for status in RUNNING:
            asked = {"NameContains": "pokeflow-", "StatusEquals": status}
            yield from (item[names.name] for item in aws.pages(client, names.list, names.summaries, what, **asked))


def task_uri(kind: Kind, described: Mapping[str, Any]) -> str:
    """Return the URI of the task that a job was given; empty where it is none of pokeflow's."""
    if kind == "training":
        channels = described.get("InputDataConfig") or ()
        found = [c["DataSource"]["S3DataSource"]["S3Uri"] for c in channels if c["ChannelName"] == "task"]
    else:
        inputs = described.get("ProcessingInputs") or ()
        found = [i["S3Input"]["S3Uri"] for i in inputs if i["InputName"] == "task"]
    return str(found[0]) if found else ""


def making_uri(kind: Kind, described: Mapping[str, Any]) -> str:
    """Return the part of that URI which all jobs of the same making have in common."""
    return task_uri(kind, described).rstrip("/").rpartition("/")[0]


def seconds_of(kind: Kind, described: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The seconds that a job ran and those that are billed; None where SageMaker does not tell."""
    if kind == "training":
        return described.get("TrainingTimeInSeconds"), described.get("BillableTimeInSeconds")
    began, ended = described.get("ProcessingStartTime"), described.get("ProcessingEndTime")
    took = (ended - began).total_seconds() if began and ended else None
    return took, took


def pause(seconds: float) -> None:
    """Wait between two looks."""
    time.sleep(seconds)
