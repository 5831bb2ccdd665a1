"""The cost of a finished task's job: the billed seconds of all its attempts, times instances, times the price."""

from typing import Any

from pokeflow import Bill, Record
from pokeflow.types import INSTANCE, JOB_SECONDS
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.executor import jobs
from pokeflow_sagemaker.executor.jobs import RUNNING, Job
from pokeflow_sagemaker.executor.params import JobParams, Kind

SECONDS = "billable_seconds"
"""Key of a record's environment for the billed seconds of its jobs."""


def price(params: JobParams, seconds: float) -> float | None:
    """Return the on-demand cost of a job in US dollars, or None if the price is unknown."""
    hourly = prices.hourly(params.instance_type, _region(params), params.prices).usd
    return None if hourly is None else hourly / 3600 * seconds * params.instance_count


def bill(record: Record, params: JobParams) -> Bill | None:
    """Return the bill of the job that wrote a record, with all its attempts; None until the job has ended."""
    name, arn = record.environment.get("training_job"), str(record.environment.get("training_job_arn") or "")
    if SECONDS in record.environment:
        return _price_recorded_seconds(record, params)
    if not name:
        return Bill(None, "the record does not name the job that ran it")
    region = arn.split(":")[3] if arn.count(":") >= 5 else _region(params)
    kind: Kind = "processing" if ":processing-job/" in arn else "training"
    try:
        description = Job(kind, name, region).describe()
        attempts = [description, *_earlier(kind, name, record.digest, region, jobs.attempts_uri(kind, description))]
    except aws.NotFoundError as error:
        return Bill(None, f"the job no longer exists in SageMaker: {error}")
    if description[jobs.NAMES[kind].status] in RUNNING:
        return None
    return _sum(
        kind, attempts, region, params, {"training_job": name, "training_job_arn": description[jobs.NAMES[kind].arn]}
    )


def _price_recorded_seconds(record: Record, params: JobParams) -> Bill:
    """Return the bill of a record that lacks only the price: its billed seconds are known already."""
    environment = record.environment
    price = prices.hourly(environment[INSTANCE], environment["region"], params.prices)
    if price.usd is None:
        return Bill(None, price.source)
    total = price.usd / 3600 * environment[SECONDS] * environment["instance_count"]
    return Bill(round(total, 6), "", {"price": price.source})


def _earlier(kind: Kind, name: str, digest: str, region: str, prefix: str) -> list[dict[str, Any]]:
    """Return the descriptions of the other finished attempts with the same inputs."""
    base = f"{name.partition(digest)[0]}{digest}"
    if not prefix or digest not in name:
        return []
    ended = [job for _, job, status in jobs.attempts(kind, base, region) if job.name != name and status not in RUNNING]
    descriptions = (job.describe() for job in ended)
    return [described for described in descriptions if jobs.attempts_uri(kind, described) == prefix]


def _sum(kind: Kind, attempts: list[dict[str, Any]], region: str, params: JobParams, names: dict[str, Any]) -> Bill:
    ran, billed, total = 0.0, 0.0, 0.0
    unknown = ""
    for described in attempts:
        machine = _machine(kind, described)
        took, paid = jobs.seconds_of(kind, described)
        if took is None or paid is None:
            if described is attempts[0]:
                unknown = "SageMaker does not report how long the job ran"
            continue  # the job never got an instance
        hourly = prices.hourly(machine["InstanceType"], region, params.prices)
        ran, billed = ran + took, billed + paid
        if hourly.usd is None:
            unknown = hourly.source
        else:
            total += hourly.usd / 3600 * paid * machine["InstanceCount"]
    machine = _machine(kind, attempts[0])
    spot = bool(attempts[0].get("EnableManagedSpotTraining"))
    environment = {
        **names,
        INSTANCE: machine["InstanceType"],
        "instance_count": machine["InstanceCount"],
        "region": region,
        "attempts": len(attempts),
        JOB_SECONDS: ran,
        SECONDS: billed,
        "spot": spot,
        "spot_saving": 1 - billed / ran if spot and ran else None,
        "price": prices.hourly(machine["InstanceType"], region, params.prices).source,
    }
    return Bill(None, unknown, environment) if unknown else Bill(round(total, 6), "", environment)


def _machine(kind: Kind, described: dict[str, Any]) -> dict[str, Any]:
    if kind == "training":
        return dict(described["ResourceConfig"])
    return dict(described["ProcessingResources"]["ClusterConfig"])


def _region(params: JobParams) -> str:
    return aws.region(params.account.region)
