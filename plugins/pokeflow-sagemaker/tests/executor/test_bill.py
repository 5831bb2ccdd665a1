"""Cost of a record's job: all attempts at the same task, as SageMaker bills them; unknown costs have a reason."""

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
    """Replace SageMaker by a set of jobs; return the regions that were queried."""
    regions = []

    def holds(*described):
        by_name = {d.get("TrainingJobName") or d["ProcessingJobName"]: d for d in described}

        def describe(job):
            regions.append(job.region)
            if job.name not in by_name:
                raise aws.NotFoundError(f"{job.label}: does not exist.")
            return by_name[job.name]

        def attempts(kind, base, region):
            assert base == NAME.removesuffix("-4")
            mine = sorted(name for name in by_name if name.startswith(base))
            status = jobs.NAMES[kind].status
            return [(i, Job(kind, name, region), by_name[name][status]) for i, name in enumerate(mine, 1)]

        monkeypatch.setattr(Job, "describe", describe)
        monkeypatch.setattr(jobs, "attempts", attempts)
        return regions

    return holds


def test_cost_counts_the_billed_time_of_every_machine(account):
    regions = account(training(NAME, 3600, 3600))
    result = bill.bill(record(), PARAMS)
    assert result.cost_usd == pytest.approx(2 * 1.408)
    assert regions == ["us-west-2"]  # the record's own, not today's
    assert result.environment["price"].startswith("on-demand prices of us-west-2")
    assert result.environment["spot_saving"] is None
    assert bill.bill(record(), replace(PARAMS, prices={"ml.g5.xlarge": 1.0})).cost_usd == pytest.approx(2.0)


def test_spot_job_reports_its_saving(account):
    account(training(NAME, 1000, 300, EnableManagedSpotTraining=True))
    result = bill.bill(record(), PARAMS)
    assert result.environment["spot_saving"] == pytest.approx(0.7)
    assert result.cost_usd == pytest.approx(2 * 1.408 / 3600 * 300, abs=1e-6)


def test_earlier_attempts_at_the_same_task_are_billed(account):
    account(
        training(NAME, 100, 100, status="Failed"),
        training(f"{NAME}-2", 50, 50, status="Failed", task="s3://b/p/jobs/d/other/h/"),
        training(f"{NAME}-3", None, None, status="Failed"),  # never got a machine
        training(f"{NAME}-4", 200, 200),
        training(f"{NAME}-5", 30, 30, status="InProgress"),
    )
    result = bill.bill(record(f"{NAME}-4"), PARAMS)
    assert (result.environment["attempts"], result.environment["billable_seconds"]) == (3, 300)
    assert result.cost_usd == pytest.approx(2 * 1.408 / 3600 * 300, abs=1e-6)


BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def processing(name: str, seconds: int | None, *, status="Completed", task=MAKING, **more):
    times = {"ProcessingStartTime": BEGAN, "ProcessingEndTime": BEGAN + dt.timedelta(seconds=seconds or 0)}
    return {
        "ProcessingJobName": name, "ProcessingJobArn": f"arn:{name}", "ProcessingJobStatus": status,
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2}},
        "ProcessingInputs": [{"InputName": "code", "S3Input": {"S3Uri": "s3://b/code"}},
                             {"InputName": "task", "S3Input": {"S3Uri": task}}],
        **(times if seconds is not None else {}), **more,
    }  # fmt: skip


def test_a_processing_job_is_billed_from_beginning_to_end(account):
    account(processing(NAME, 3600))
    result = bill.bill(record(kind="processing"), PARAMS)
    assert result.cost_usd == pytest.approx(2 * 0.23)
    assert dict(result.environment) == {
        "training_job": NAME, "training_job_arn": f"arn:{NAME}", "instance_type": "ml.m5.xlarge", "instance_count": 2,
        "region": "us-west-2", "attempts": 1, "job_seconds": 3600.0, "billable_seconds": 3600.0, "spot": False,
        "spot_saving": None, "price": result.environment["price"],
    }  # fmt: skip


def test_ended_processing_attempts_at_the_same_task_are_billed(account):
    account(
        processing(NAME, 100, status="Failed"),
        processing(f"{NAME}-2", 50, status="Failed", task="s3://b/p/jobs/d/other/h/"),
        processing(f"{NAME}-3", None, status="Stopped"),  # never got a machine
        processing(f"{NAME}-4", 200),
        processing(f"{NAME}-5", 30, status="InProgress"),
        processing(f"{NAME}-6", 40, status="Stopping"),
        processing(f"{NAME}-7", 60, status="Stopped"),
    )
    result = bill.bill(record(f"{NAME}-4", "processing"), PARAMS)
    assert (result.environment["attempts"], result.environment["billable_seconds"]) == (4, 360)
    assert result.cost_usd == pytest.approx(2 * 0.23 / 3600 * 360, abs=1e-6)


def test_each_attempt_is_billed_by_its_own_machines(account):
    other = {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 3}}
    account(training(NAME, 100, 100, status="Failed", **other), training(f"{NAME}-4", 200, 200))
    result = bill.bill(record(f"{NAME}-4"), PARAMS)
    assert result.cost_usd == pytest.approx((3 * 0.23 * 100 + 2 * 1.408 * 200) / 3600, abs=1e-6)
    assert (result.environment["instance_type"], result.environment["instance_count"]) == ("ml.g5.xlarge", 2)


def test_attempt_without_a_price_makes_the_cost_unknown(account):
    other = {"ResourceConfig": {"InstanceType": "ml.x9.large", "InstanceCount": 1}}
    account(training(NAME, 100, 100, status="Failed", **other), training(f"{NAME}-4", 200, 200))
    result = bill.bill(record(f"{NAME}-4"), PARAMS)
    assert result.cost_usd is None
    assert "no price is known for ml.x9.large" in result.reason
    assert result.environment["billable_seconds"] == 300


def test_job_without_the_digest_in_its_name_has_one_attempt(account):
    account(training("by-hand", 100, 100), training("by-hand-2", 100, 100))
    assert bill.bill(record("by-hand"), PARAMS).environment["attempts"] == 1


def test_a_job_without_a_task_has_no_other_attempts(account):
    account(training(NAME, 100, 100, InputDataConfig=[]), training(f"{NAME}-2", 100, 100, InputDataConfig=[]))
    assert bill.bill(record(), PARAMS).environment["attempts"] == 1


def test_record_without_an_arn_uses_the_configured_region(account):
    regions = account(training(NAME, 3600, 3600))
    assert bill.bill(record(training_job_arn=None), PARAMS).cost_usd == pytest.approx(2 * 1.408)
    assert bill.bill(record(training_job_arn="arn:aws:x:eu-west-1:1"), PARAMS).environment["region"] == "us-east-1"
    assert regions == ["us-east-1", "us-east-1"]


def test_costs_are_rounded_to_a_millionth_of_a_dollar(account):
    account(training(NAME, 1, 1))
    assert bill.bill(record(), PARAMS).cost_usd == 0.000782  # 2 × 1.408 / 3600
    about = {"instance_type": "ml.x9.large", "instance_count": 1, "region": "us-east-1", "billable_seconds": 1}
    assert bill.bill(record(**about), replace(PARAMS, prices={"ml.x9.large": 3.0})).cost_usd == 0.000833


def test_spot_saving_spans_all_attempts(account):
    account(training(NAME, 100, 100, status="Failed"), training(f"{NAME}-4", 100, 20, EnableManagedSpotTraining=True))
    environment = bill.bill(record(f"{NAME}-4"), PARAMS).environment
    assert (environment["spot"], environment["spot_saving"]) == (True, pytest.approx(1 - 120 / 200))


def test_spot_job_without_run_time_has_no_saving(account):
    account(training(NAME, 0, 0, EnableManagedSpotTraining=True))
    result = bill.bill(record(), PARAMS)
    assert (result.cost_usd, result.environment["spot"], result.environment["spot_saving"]) == (0.0, True, None)


def test_a_job_that_runs_has_no_bill_yet(account):
    for status in ("InProgress", "Stopping"):
        account(training(NAME, None, None, status=status))
        assert bill.bill(record(), PARAMS) is None


@pytest.mark.parametrize(
    ("jobs_", "job_record", "reason"),
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
def test_an_unknown_cost_has_its_reason(account, jobs_, job_record, reason):
    account(*jobs_)
    result = bill.bill(job_record, PARAMS)
    assert result.cost_usd is None
    assert reason in result.reason


def test_missing_price_is_settled_without_querying_sagemaker(account):
    regions = account()
    about = {"instance_type": "ml.x9.large", "instance_count": 2, "region": "us-east-1", "billable_seconds": 1800}
    assert (
        bill.bill(record(**about), PARAMS).reason == "no price is known for ml.x9.large; set params.prices.ml.x9.large"
    )
    result = bill.bill(record(**about), replace(PARAMS, prices={"ml.x9.large": 3.0}))
    assert (result.cost_usd, dict(result.environment)) == (3.0, {"price": "the configuration"})
    assert regions == []
