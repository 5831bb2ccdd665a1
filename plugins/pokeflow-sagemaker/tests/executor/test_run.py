"""A job's failure is reported in one paragraph with advice, leaves nothing half-done, and the next run resumes."""

import logging
import threading

import pytest

from pokeflow import PokeflowError, UnavailableError
from pokeflow.errors import EXIT_UNAVAILABLE, TaskError
from pokeflow_sagemaker.executor import code, run, watch
from pokeflow_sagemaker.executor.jobs import Job
from pokeflow_sagemaker.executor.params import JobParams
from pokeflow_sagemaker.provision import names

from ..jobs_flow import SPOT, Launcher, has_checkpoint, seconds, until

pytestmark = pytest.mark.usefixtures("containers")
TEACHER = ("models=[teacher]", "stages=[train]")
INSTANCE = "ml.m5.xlarge"


@pytest.fixture
def machine(cloud, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return Launcher(cloud, tmp_path / "a")


def failure_message(machine, *overrides):
    """Run the task, which must fail, and return the first paragraph of the message."""
    with pytest.raises(TaskError) as failed:
        machine.run(*TEACHER, *overrides)
    first, *rest = str(failed.value).splitlines()
    assert first.startswith("train:teacher failed: ")
    assert all(line.startswith(("  log: ", "Finished tasks are kept.")) for line in rest)
    assert len(first) < 900
    return first


@pytest.mark.parametrize(
    ("trouble", "sentences"),
    [
        ({"throttling": 1.0, "only": ("CreateTrainingJob",)}, ["did not complete CreateTrainingJob", "the same"]),
        ({"denied": ("CreateTrainingJob",)}, ["access denied. Needed: sagemaker:CreateTrainingJob"]),
        ({"denied": ("ListTrainingJobs",)}, ["access denied. Needed: sagemaker:ListTrainingJobs"]),
        ({"limited": (INSTANCE,)}, [f"'{INSTANCE} for training job usage' is 0 Instances", "Service Quotas"]),
    ],
)  # fmt: skip
def test_refused_launch_is_reported_and_starts_nothing(machine, trouble, sentences):
    machine.cloud.trouble(**trouble)
    said = failure_message(machine)
    assert all(sentence in said for sentence in sentences), said
    machine.cloud.trouble()
    assert machine.created() == []
    assert machine.here() == set()


@pytest.mark.slow
def test_internal_service_error_is_retried_then_reported(machine, monkeypatch):
    machine.cloud.trouble(internal=1.0, only=("CreateTrainingJob",))
    said = failure_message(machine)
    assert (
        "AWS did not complete CreateTrainingJob (InternalFailure) after 1 attempt. Run the same command again." in said
    )
    assert machine.created() == []
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    machine.cloud.trouble(internal=1.0, only=("CreateTrainingJob",), times=2)
    assert machine.run(*TEACHER).ran == ("train:teacher",)
    assert [call["status"] for call in machine.cloud.calls("CreateTrainingJob")][-3:] == [500, 500, 200]


@pytest.mark.slow
def test_unassumable_new_role_is_reported_and_next_run_succeeds(machine):
    machine.cloud.trouble(new_roles=1)
    assert "Could not assume role" in failure_message(machine)
    assert machine.created() == []
    assert machine.run(*TEACHER).ran == ("train:teacher",)


def test_image_of_another_region_is_reported_before_start(machine):
    image = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.14-cpu-py312"
    said = failure_message(machine, f"executor.params.container.image='{image}'")
    assert f"Invalid image URI {image}. The image must be in a repository of the region us-east-1." in said
    assert machine.created() == []


def test_missing_image_tag_is_reported_with_its_address(machine):
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:gone"
    machine.cloud.trouble(no_tags=(image,))
    said = failure_message(machine, f"executor.params.container.image='{image}'")
    assert f"failed: ClientError: Cannot find the requested image {image}" in said
    assert machine.here() == set()


@pytest.mark.slow
def test_out_of_memory_kill_advises_a_larger_instance(machine):
    machine.cloud.trouble(out_of_memory=(INSTANCE,))
    said = failure_message(machine, seconds("teacher", 30))
    assert (
        "failed: its process was killed, perhaps because memory ran out. Set a larger executor.params.instance_type."
        in said
    )
    machine.cloud.trouble()
    assert machine.here() == set()


@pytest.mark.slow
def test_permission_lost_while_waiting_leaves_the_job_running(machine):
    machine.cloud.trouble(denied=("DescribeTrainingJob",))
    said = failure_message(machine)
    assert "Needed: sagemaker:DescribeTrainingJob" in said
    assert "The job continues. Run the same command to attach to it again." in said
    machine.cloud.trouble()
    (name,) = machine.created()
    until(lambda: machine.training(name)["TrainingJobStatus"] == "Completed")
    machine.run(*TEACHER)
    assert machine.created() == [name]
    assert machine.store().load(machine.flow(*TEACHER).steps[0]).environment["training_job"] == name


def test_missing_role_error_says_where_it_is_configured(machine):
    role = "arn:aws:iam::123456789012:role/nobody"
    said = failure_message(machine, f"executor.params.account.role={role}")
    assert "Could not assume role" in said
    said = failure_message(machine, "executor.params.account.role=null", "project.name=Cards of mine")
    assert names.role("Cards of mine", "job") in said
    assert "the default, created by 'pokeflow provision'. Set executor.params.account.role to use another" in said
    assert machine.created() == []


def test_expired_credentials_stop_the_plan(machine):
    machine.cloud.trouble(expired=True)
    with pytest.raises(PokeflowError, match="the credentials have expired"):
        machine.run(*TEACHER)
    machine.cloud.trouble()
    assert machine.created() == []
    assert machine.here() == set()


def test_missing_bucket_stops_the_plan(machine):
    machine.cloud.vanish()
    with pytest.raises(PokeflowError, match=machine.cloud.name):
        machine.run(*TEACHER)
    assert machine.created() == []


def test_bucket_deleted_while_the_job_waits_is_reported(machine):
    machine.cloud.trouble(capacity=(INSTANCE,))
    said = []
    waiting = threading.Thread(target=lambda: said.append(failure_message(machine, *SPOT)))
    waiting.start()
    until(machine.created)
    machine.cloud.vanish()
    machine.cloud.trouble()
    waiting.join(60)
    assert "failed: ClientError: Data download failed:No S3 objects found under S3 URL" in said[0]
    assert machine.here() == set()


@pytest.mark.slow
def test_missing_capacity_is_reported(machine):
    machine.cloud.trouble(capacity=(INSTANCE,))
    said = failure_message(machine)
    assert f"AWS has no capacity for {INSTANCE} (CapacityError" in said
    assert "use another executor.params.instance_type or region" in said


@pytest.mark.slow
def test_lost_response_creates_no_second_job(machine, monkeypatch, caplog):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    machine.cloud.trouble(lost=1.0, only=("CreateTrainingJob",), times=1)
    caplog.set_level(logging.INFO)
    assert machine.run(*TEACHER).ran == ("train:teacher",)
    calls = machine.cloud.calls("CreateTrainingJob")
    assert len(calls) == 2
    assert calls[1]["code"] == "ResourceInUse"
    assert "attached to training job" in caplog.text


@pytest.mark.slow
def test_wait_survives_throttling_lost_responses_and_denied_logs(machine, caplog):
    machine.cloud.trouble(
        throttling=0.5, lost=0.5, only=("DescribeTrainingJob",), times=4, denied=("DescribeLogStreams",)
    )
    assert machine.run(*TEACHER).ran == ("train:teacher",)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("Retrying." in warning for warning in warnings) == 4
    assert sum("its log cannot be shown: " in warning for warning in warnings) == 1
    assert any("Needed: logs:DescribeLogStreams" in warning for warning in warnings)


@pytest.mark.slow
def test_credentials_expired_while_waiting_leave_the_job_running(machine):
    machine.cloud.trouble(capacity=(INSTANCE,))
    said = []
    waiting = threading.Thread(target=lambda: said.append(failure_message(machine, *SPOT)))
    waiting.start()
    (name,) = until(machine.created)
    machine.cloud.trouble(expired=True)
    waiting.join(60)
    assert "the credentials have expired. Renew them and run the same command again." in said[0]
    assert "The job continues. Run the same command to attach to it again. https://us-east-1.console" in said[0]
    machine.cloud.trouble()
    until(lambda: machine.training(name)["TrainingJobStatus"] in ("Completed", "Failed"))
    machine.run(*TEACHER, *SPOT)
    assert machine.store().load(machine.flow(*TEACHER).steps[0]).cost_usd > 0


def test_abandoned_wait_says_that_the_job_continues(machine, monkeypatch):
    monkeypatch.setattr(watch, "MAX_OUTAGE", 0.0)
    machine.cloud.trouble(lost=1.0, only=("DescribeTrainingJob",))
    said = failure_message(machine)
    assert "the connection was cut" in said
    assert "The job continues. Run the same command to attach to it again." in said


@pytest.mark.slow
def test_job_without_a_compiler_is_unavailable_like_a_local_task(machine):
    with pytest.raises(TaskError) as raised:
        machine.run("lineage.models.tiny.params.absent=true", "models=[tiny]", "stages=[compile]")
    assert raised.value.exit_code == EXIT_UNAVAILABLE
    said = next(line for line in str(raised.value).splitlines() if line.startswith("compile:tiny"))
    assert said.startswith("compile:tiny unavailable: ")
    assert "no compiler here. Install the toy compiler 2.0." in said


def lacking(monkeypatch):
    """Make the code require a package that does not exist."""
    monkeypatch.setattr(code, "requirements", lambda _: ["nowhere @ file:///nowhere"])


def test_requirement_missing_from_the_image_is_named(machine, monkeypatch):
    lacking(monkeypatch)
    said = failure_message(machine)
    assert (
        "failed: the image lacks nowhere @ file:///nowhere, which the code requires: use an image that has them" in said
    )


@pytest.mark.slow
def test_pip_failure_is_reported(machine, monkeypatch):
    lacking(monkeypatch)
    said = failure_message(machine, "executor.params.container.install=true")
    assert "failed: pip could not install the requirements of the code; see the log." in said


@pytest.mark.slow
def test_stopped_job_keeps_its_checkpoint(machine):
    machine.cloud.trouble(sync=0.1)
    with machine.started(*TEACHER, seconds("teacher", 30)) as process:
        name = machine.first()
        until(lambda: has_checkpoint(machine))
        machine.cloud.aws("sagemaker").stop_training_job(TrainingJobName=name)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"training job {name} was stopped. Its checkpoint is kept. Run the same command again to resume." in err
    assert has_checkpoint(machine)


def ended(status, reason, secondary="Failed"):
    """Return a training job's description at its end."""
    return {"TrainingJobStatus": status, "SecondaryStatus": secondary, "FailureReason": reason}


@pytest.mark.parametrize(
    ("secondary", "reason", "sentence"),
    [
        ("MaxRuntimeExceeded", "", "took longer than executor.params.time_limit_seconds (86,400). Its"),
        ("MaxWaitTimeExceeded", "", "got no spot instances in time. Its checkpoint is kept. Run the same"),
        ("Failed", "AlgorithmError: a, exit code: 1 or 2, exit code: 1", "failed: a, exit code: 1 or 2 https"),
        ("Failed", "ClientError: Data download failed", "failed: ClientError: Data download failed"),
        ("Failed", "", "failed: SageMaker reports no reason"),
        ("Failed", "AlgorithmError: , exit code: 137", "failed: its process was killed, perhaps because "),
        ("Failed", "AlgorithmError: , exit code: 1", "failed: exit code: 1 https"),
        ("Failed", "AlgorithmError: killed it, exit code: 137", "failed: killed it https"),
        ("Failed", 'AlgorithmError: {"unavailable": false, "error": "no"}, exit code: 1', "failed: no https"),
    ],
)  # fmt: skip
def test_every_job_end_has_its_message(secondary, reason, sentence):
    status = "Failed" if secondary == "Failed" else "Stopped"
    with pytest.raises(PokeflowError) as error:
        run._require_completed(
            Job("training", "pokeflow-x", "us-east-1"), ended(status, reason, secondary), JobParams()
        )
    assert str(error.value).startswith("training job pokeflow-x ")
    assert sentence in str(error.value)


def test_unavailable_reason_raises_unavailable_error():
    reason = 'AlgorithmError: {"unavailable": true, "error": "no compiler here."}, exit code: 1'
    with pytest.raises(UnavailableError, match=r"^training job pokeflow-x: no compiler here\. https"):
        run._require_completed(Job("training", "pokeflow-x", "us-east-1"), ended("Failed", reason), JobParams())
