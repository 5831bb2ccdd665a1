"""What a record's job cost: all attempts at the very making, what SageMaker bills, unknown with its reason."""

import dataclasses
import datetime as dt
from dataclasses import replace

import pytest

from pokeflow import Record
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor import bill, jobs
from pokeflow_sagemaker.executor.jobs import Job
from pokeflow_sagemaker.executor.params import Account, JobParams

DIGEST = "0123456789abcdef"
NAME = f"pokeflow-teacher-{DIGEST}"
PARAMS = JobParams(account=Account(region="us-east-1"))
MAKING = "s3://b/p/jobs/d/m/h/"


def record(name: str = NAME, kind: str = "training", **environment: object) -> Record:
    values = {field.name: "" for field in dataclasses.fields(Record)}
    about = {"training_job": name, "training_job_arn": f"arn:aws:sagemaker:us-west-2:123456789012:{kind}-job/{name}"}
    return Record(**values | {"digest": DIGEST, "environment": about | environment, "cost_usd": None})


def training(name: str, seconds: int | None, billed: int | None, *, status="Completed", task=MAKING, **more):
    source = {"S3DataSource": {"S3Uri": task}}
    known = {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billed} if seconds is not None else {}
    return {
        "TrainingJobName": name, "TrainingJobArn": f"arn:{name}", "TrainingJobStatus": status,
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
        "InputDataConfig": [{"ChannelName": "task", "DataSource": source}], **known, **more,
    }  # fmt: skip


@pytest.fixture
def account(monkeypatch):
    """The jobs that there are; regions asked."""
    regions = []

    def holds(*described):
        by_name = {d.get("TrainingJobName") or d["ProcessingJobName"]: d for d in described}

        def describe(job):
            regions.append(job.region)
            if job.name not in by_name:
                raise aws.NotFoundError(f"{job.label}: does not exist.")
            return by_name[job.name]

        def attempts(kind, base, region):
            mine = sorted(name for name in by_name if name.startswith(base))
            return [(i, Job(kind, name, region), by_name[name]["TrainingJobStatus"]) for i, name in enumerate(mine, 1)]

        monkeypatch.setattr(Job, "describe", describe)
        monkeypatch.setattr(jobs, "attempts", attempts)
        return regions

    return holds


def test_a_job_costs_what_is_billed_on_every_machine(account):
    regions = account(training(NAME, 3600, 3600))
    found = bill.bill(record(), PARAMS)
    assert found.cost_usd == pytest.approx(2 * 1.408)
    assert regions == ["us-west-2"]  # the record's own, not today's
    assert found.environment["price"].startswith("on-demand prices of us-west-2")
    assert found.environment["spot_saving"] is None
    assert bill.bill(record(), replace(PARAMS, prices={"ml.g5.xlarge": 1.0})).cost_usd == pytest.approx(2.0)


def test_a_spot_job_tells_what_it_saved(account):
    account(training(NAME, 1000, 300, EnableManagedSpotTraining=True))
    found = bill.bill(record(), PARAMS)
    assert found.environment["spot_saving"] == pytest.approx(0.7)
    assert found.cost_usd == pytest.approx(2 * 1.408 / 3600 * 300, abs=1e-6)


def test_attempts_before_it_are_paid_as_well_but_those_at_another_making(account):
    account(
        training(NAME, 100, 100, status="Failed"),
        training(f"{NAME}-2", 50, 50, status="Failed", task="s3://b/p/jobs/d/other/h/"),
        training(f"{NAME}-3", None, None, status="Failed"),  # never got a machine
        training(f"{NAME}-4", 200, 200),
        training(f"{NAME}-5", 30, 30, status="InProgress"),
    )
    found = bill.bill(record(f"{NAME}-4"), PARAMS)
    assert (found.environment["attempts"], found.environment["billable_seconds"]) == (3, 300)
    assert found.cost_usd == pytest.approx(2 * 1.408 / 3600 * 300, abs=1e-6)


def test_a_processing_job_is_billed_from_beginning_to_end(account):
    began = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    account({
        "ProcessingJobName": "p", "ProcessingJobArn": "arn:p", "ProcessingJobStatus": "Completed",
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1}},
        "ProcessingStartTime": began, "ProcessingEndTime": began + dt.timedelta(hours=1),
    })  # fmt: skip
    assert bill.bill(record("p", "processing"), PARAMS).cost_usd == pytest.approx(0.23)


def test_a_job_that_runs_has_no_bill_yet(account):
    account(training(NAME, None, None, status="InProgress"))
    assert bill.bill(record(), PARAMS) is None


@pytest.mark.parametrize(
    ("jobs_", "given", "reason"),
    [
        ([], record(), "the job no longer exists in SageMaker"),
        ([], record(""), "does not name the job that ran it"),
        ([training(NAME, None, None)], record(), "does not report how long the job ran"),
        (
            [training(NAME, 1, 1, ResourceConfig={"InstanceType": "ml.x9.large", "InstanceCount": 1})],
            record(),
            "no price is known for ml.x9.large; set params.prices.ml.x9.large",
        ),
    ],
)
def test_an_unknown_cost_has_its_reason(account, jobs_, given, reason):
    account(*jobs_)
    found = bill.bill(given, PARAMS)
    assert found.cost_usd is None
    assert reason in found.reason


def test_what_lacked_a_price_alone_is_settled_without_asking(account):
    regions = account()
    about = {"instance_type": "ml.x9.large", "instance_count": 2, "region": "us-east-1", "billable_seconds": 1800}
    assert (
        bill.bill(record(**about), PARAMS).reason == "no price is known for ml.x9.large; set params.prices.ml.x9.large"
    )
    found = bill.bill(record(**about), replace(PARAMS, prices={"ml.x9.large": 3.0}))
    assert (found.cost_usd, dict(found.environment)) == (3.0, {"price": "the configuration"})
    assert regions == []
