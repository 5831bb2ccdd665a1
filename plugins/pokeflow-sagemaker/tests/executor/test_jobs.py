"""Training and processing jobs as one thing."""

import datetime as dt

import pytest

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor import jobs
from pokeflow_sagemaker.executor.jobs import Job

BASE = "pokeflow-teacher-0123456789abcdef"


@pytest.fixture
def listed(monkeypatch):
    """Replace SageMaker's listings by names and statuses; return the queries."""
    queries = []

    def of(*names):
        def pages(client, operation, key, what, **parameters):
            queries.append((operation, parameters))
            prefix = key.removesuffix("JobSummaries")
            for name, status in names:
                if parameters["NameContains"] in name and parameters.get("StatusEquals", status) == status:
                    yield {f"{prefix}JobName": name, f"{prefix}JobStatus": status}

        monkeypatch.setattr(aws, "pages", pages)
        monkeypatch.setattr(aws, "client", lambda *_: None)
        return queries

    return of


def test_attempts_are_ordered_and_exclude_other_jobs(listed):
    listed(
        (f"{BASE}-10", "Failed"),
        (f"{BASE}-2", "Stopped"),
        (BASE, "Failed"),
        (f"other-{BASE}", "Completed"),
        (f"{BASE}-x", "Completed"),
        (f"{BASE}-3-1", "Completed"),
    )
    attempts = jobs.attempts("training", BASE, "us-east-1")
    assert [(number, job.name, status) for number, job, status in attempts] == [
        (1, BASE, "Failed"),
        (2, f"{BASE}-2", "Stopped"),
        (10, f"{BASE}-10", "Failed"),
    ]
    assert [jobs.attempt_name(BASE, number) for number in (1, 2, 10)] == [BASE, f"{BASE}-2", f"{BASE}-10"]


def test_running_counts_both_kinds_and_stopping_jobs(listed):
    listed((BASE, "InProgress"), ("pokeflow-x", "Stopping"), ("mine", "InProgress"), ("pokeflow-y", "Completed"))
    assert sorted(jobs.running("us-east-1")) == sorted([BASE, "pokeflow-x"] * 2)


def test_the_task_of_a_job_is_read_from_its_inputs():
    uri = "s3://b/p/jobs/d/m/h/"
    source = {"S3DataSource": {"S3Uri": uri}}
    training = {"InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/c/"}}}]}
    training["InputDataConfig"].append({"ChannelName": "task", "DataSource": source})
    assert jobs.task_uri("training", training) == uri
    assert jobs.attempts_uri("training", training) == "s3://b/p/jobs/d/m"
    assert jobs.task_uri("processing", {"ProcessingInputs": [{"InputName": "task", "S3Input": {"S3Uri": uri}}]}) == uri
    assert jobs.attempts_uri("training", {}) == ""


def test_seconds_are_read_from_sagemakers_description():
    began = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    processed = {"ProcessingStartTime": began, "ProcessingEndTime": began + dt.timedelta(seconds=90)}
    assert jobs.seconds_of("processing", processed) == (90.0, 90.0)
    assert jobs.seconds_of("processing", {}) == (None, None)
    assert jobs.seconds_of("training", {"TrainingTimeInSeconds": 9, "BillableTimeInSeconds": 3}) == (9, 3)


def test_describing_an_unknown_job_is_an_error(cloud):
    with pytest.raises(aws.NotFoundError):
        Job("training", BASE, cloud.region).describe()
    with pytest.raises(aws.NotFoundError):
        Job("processing", BASE, cloud.region).describe()
