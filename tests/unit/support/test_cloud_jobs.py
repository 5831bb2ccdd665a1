"""Check jobs of the test cloud, which run like SageMaker's containers and end with its statuses."""

import dataclasses
import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pokeflow_testkit.cloud import IMAGE, Cloud, started

pytestmark = pytest.mark.usefixtures("containers")


def until(done: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for a true value, and return it."""
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def training(cloud: Cloud, script: str, **more: Any) -> dict[str, Any]:
    """Return a request for a job that runs a Python script from a channel, as arguments must be short."""
    cloud.client().put_object(Bucket=cloud.name, Key="code/script.py", Body=script.encode())
    return {
        "TrainingJobName": "job",
        "RoleArn": cloud.role,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-u"],
            "ContainerArguments": ["/opt/ml/input/data/code/script.py"],
        },
        "InputDataConfig": [channel("code", f"{cloud.uri}/code/")],
        "OutputDataConfig": {"S3OutputPath": f"{cloud.uri}/out"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }


def spot(cloud: Cloud, script: str, wait: int = 60, **more: Any) -> dict[str, Any]:
    """Return such a request for spot instances, with checkpoints."""
    return {
        **training(cloud, script),
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": wait},
        "CheckpointConfig": {"S3Uri": f"{cloud.uri}/checkpoints"},
        **more,
    }


def describe(cloud: Cloud, name: str = "job") -> dict[str, Any]:
    return dict(cloud.aws("sagemaker").describe_training_job(TrainingJobName=name))


def wait_for_end(cloud: Cloud, name: str = "job") -> dict[str, Any]:
    """Wait for a job to end, and return its description."""
    until(lambda: describe(cloud, name)["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"))
    return describe(cloud, name)


def statuses(job: dict[str, Any]) -> list[str]:
    return [passed["Status"] for passed in job["SecondaryStatusTransitions"]]


def log_lines(cloud: Cloud, group: str = "TrainingJobs", prefix: str = "job/algo-1") -> list[str]:
    """Return the lines that the first container printed."""
    logs, name = cloud.aws("logs"), f"/aws/sagemaker/{group}"
    streams = logs.describe_log_streams(logGroupName=name, logStreamNamePrefix=prefix)["logStreams"]
    events = [logs.get_log_events(logGroupName=name, logStreamName=s["logStreamName"])["events"] for s in streams]
    return [event["message"] for stream in events for event in stream]


def keys(cloud: Cloud) -> set[str]:
    return {entry["Key"] for entry in cloud.client().list_objects_v2(Bucket=cloud.name).get("Contents", [])}


def fetch(cloud: Cloud, key: str) -> bytes:
    return bytes(cloud.client().get_object(Bucket=cloud.name, Key=key)["Body"].read())


def members(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: file.read() for name, file in files.items() if file}


LOOK = """
import json, os, pathlib, sys
import boto3
ml = pathlib.Path("/opt/ml")
about = {f.name: json.loads(f.read_text()) for f in (ml / "input/config").iterdir()}
about["data"] = {str(f.relative_to(ml)): f.read_text() for f in (ml / "input/data/train").rglob("*") if f.is_file()}
about["env"] = dict(os.environ)
about["pid"] = os.getpid()
boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key="by-job", Body=b"x")
boto3.client("sagemaker").list_model_cards()
(ml / "model/weights.txt").write_text("weights")
(ml / "output/data/notes.txt").write_text("notes")
print("loss=0.5")
print("loss=0.25;")
(ml / "output/data/about.json").write_text(json.dumps(about))
"""


@pytest.mark.slow
def test_job_reads_its_inputs_and_uploads_its_outputs(cloud: Cloud) -> None:
    client = cloud.client()
    client.put_object(Bucket=cloud.name, Key="data/a/one.txt", Body=b"1")
    client.put_object(Bucket=cloud.name, Key="data/two.txt", Body=b"2")
    request = training(cloud, LOOK, Environment={"BUCKET": cloud.name}, HyperParameters={"epochs": "3"})
    request["InputDataConfig"].append(channel("train", f"{cloud.uri}/data"))
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    request["ProfilerConfig"] = {"DisableProfiler": True}
    cloud.aws("sagemaker").create_training_job(**request)
    job = wait_for_end(cloud)
    assert job.get("FailureReason") is None, log_lines(cloud)
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{cloud.uri}/out/job/output/model.tar.gz"
    assert members(fetch(cloud, "out/job/output/model.tar.gz")) == {"weights.txt": b"weights"}
    files = members(fetch(cloud, "out/job/output/output.tar.gz"))
    about = json.loads(files["about.json"])
    assert about["hyperparameters.json"] == {"epochs": "3"}
    assert about["inputdataconfig.json"]["train"]["TrainingInputMode"] == "File"
    assert about["resourceconfig.json"]["current_host"] == "algo-1"
    assert about["data"] == {"input/data/train/a/one.txt": "1", "input/data/train/two.txt": "2"}
    assert about["env"]["TRAINING_JOB_NAME"] == "job"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & about["env"].keys()
    assert about["pid"] == 1
    assert fetch(cloud, "by-job") == b"x"
    assert [call["by"] for call in cloud.calls("ListModelCards")] == ["job"]
    assert log_lines(cloud) == ["loss=0.5", "loss=0.25;"]
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("loss", 0.25)
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"]
    assert {name: job[name] for name in ("Environment", "ProfilerConfig", "HyperParameters")} == {
        name: request[name] for name in ("Environment", "ProfilerConfig", "HyperParameters")
    }
    with pytest.raises(ClientError, match=r"ResourceInUse.*already exists") as again:
        cloud.aws("sagemaker").create_training_job(**request)
    assert again.value.response["Error"]["Code"] == "ResourceInUse"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}}, "only be given with Enable"),
        ({"HyperParameters": {"x": "y" * 2501}}, "less than or equal to 2500"),
        ({"TrainingJobName": "a_b"}, "regular expression"),
        ({"AlgorithmSpecification": {"TrainingImage": "pytorch", "TrainingInputMode": "File"}}, "Invalid image URI"),
        ({"ResourceConfig": {"InstanceType": "ml.none", "InstanceCount": 1, "VolumeSizeInGB": 1}}, "enum value set"),
    ],
)
def test_wrong_job_request_is_refused(cloud: Cloud, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ClientError, match=sentence):
        cloud.aws("sagemaker").create_training_job(**training(cloud, "", **change))
    assert cloud.mutating() == {"PutObject": 1}


def test_missing_input_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="No S3 objects found under S3 URL"):
        cloud.aws("sagemaker").create_training_job(
            **training(cloud, "", InputDataConfig=[channel("train", f"{cloud.uri}/no")])
        )


def test_failure_reason_is_the_container_s_message(cloud: Cloud) -> None:
    script = "open('/opt/ml/output/failure', 'w').write('no cards'); raise SystemExit(3)"
    cloud.aws("sagemaker").create_training_job(**training(cloud, script))
    job = wait_for_end(cloud)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: no cards, exit code: 3"
    assert "ModelArtifacts" not in job


def test_job_with_an_unknown_program_fails(cloud: Cloud) -> None:
    request = training(cloud, "")
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    cloud.aws("sagemaker").create_training_job(**request)
    assert wait_for_end(cloud)["FailureReason"] == "AlgorithmError: , exit code: 127"
    assert "no-such-program" in log_lines(cloud)[0]


WORK = """
import pathlib, signal, sys, time
folder = pathlib.Path("/opt/ml/checkpoints")
done = sorted(int(file.name) for file in folder.iterdir())
print("resumed at", done[-1] if done else 0)
def leave(*_):
    (folder / "99").write_text("in time")
    print("told to leave")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
if done:
    pathlib.Path("/opt/ml/model/m").write_text("m")
    sys.exit(0)
(folder / "1").write_text("half")
print("working")
time.sleep(60)
"""


@pytest.mark.slow
def test_interrupted_spot_job_resumes_from_its_checkpoints(cloud: Cloud) -> None:
    cloud.aws("sagemaker").create_training_job(**spot(cloud, WORK))
    until(lambda: "checkpoints/1" in keys(cloud))  # sent while the job runs
    cloud.interrupt("job")
    job = wait_for_end(cloud)
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert sorted(keys(cloud)) == ["checkpoints/1", "checkpoints/99", "code/script.py", "out/job/output/model.tar.gz"]
    lines = log_lines(cloud)
    assert sorted(lines) == sorted(["resumed at 0", "working", "told to leave", "resumed at 99"])
    assert 0 < job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]
    with pytest.raises(ValueError, match="is in status Completed"):
        cloud.interrupt("job")


@pytest.mark.slow
def test_container_that_ignores_sigterm_loses_unsent_files(cloud: Cloud) -> None:
    cloud.trouble(grace=0.2, sync=60)
    script = WORK.replace("signal.signal(signal.SIGTERM, leave)", "")  # process 1 ignores signals without a handler
    cloud.aws("sagemaker").create_training_job(**spot(cloud, script))
    until(lambda: describe(cloud)["SecondaryStatus"] == "Training")
    until(lambda: cloud.aws("logs").describe_log_groups()["logGroups"] and "working" in log_lines(cloud))
    cloud.interrupt("job")
    until(lambda: log_lines(cloud).count("working") == 2)
    cloud.aws("sagemaker").stop_training_job(TrainingJobName="job")
    job = wait_for_end(cloud)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "resumed at 1" not in log_lines(cloud)
    with pytest.raises(ClientError, match="is in status Stopped"):
        cloud.aws("sagemaker").stop_training_job(TrainingJobName="job")


def test_stopped_job_may_finish_and_keeps_its_model(cloud: Cloud) -> None:
    script = WORK.replace("sys.exit(0)", "pathlib.Path('/opt/ml/model/m').write_text('m'); sys.exit(0)", 1)
    cloud.aws("sagemaker").create_training_job(**training(cloud, script.replace("checkpoints", "output/data")))
    until(lambda: cloud.aws("logs").describe_log_groups()["logGroups"] and "working" in log_lines(cloud))
    cloud.aws("sagemaker").stop_training_job(TrainingJobName="job")
    assert describe(cloud)["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = wait_for_end(cloud)
    assert statuses(job)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert members(fetch(cloud, "out/job/output/model.tar.gz")) == {"m": b"m"}


@pytest.mark.slow
def test_job_is_stopped_at_its_time_limit(cloud: Cloud) -> None:
    cloud.trouble(grace=0.1)
    limits = {"MaxRuntimeInSeconds": 1}
    cloud.aws("sagemaker").create_training_job(
        **training(cloud, "import time; time.sleep(60)", StoppingCondition=limits)
    )
    job = wait_for_end(cloud)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.slow
def test_capacity_fails_a_job_and_lets_a_spot_job_wait(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    cloud.trouble(capacity=["ml.g5.xlarge"])
    sagemaker.create_training_job(**training(cloud, ""))
    job = wait_for_end(cloud)
    assert job["FailureReason"].startswith("CapacityError: Unable to provision")
    assert "TrainingStartTime" not in job
    waiting = spot(
        cloud,
        "",
        wait=1,
        TrainingJobName="spot",
        StoppingCondition={"MaxRuntimeInSeconds": 1} | {"MaxWaitTimeInSeconds": 1},
    )
    sagemaker.create_training_job(**waiting)
    assert wait_for_end(cloud, "spot")["SecondaryStatus"] == "MaxWaitTimeExceeded"
    cloud.trouble(capacity=["ml.g5.xlarge"], capacity_times=3)
    sagemaker.create_training_job(**spot(cloud, "", TrainingJobName="later"))
    assert wait_for_end(cloud, "later")["TrainingJobStatus"] == "Completed"
    cloud.trouble(limited=["ml.g5.xlarge"])
    with pytest.raises(ClientError, match="service limit") as limited:
        sagemaker.create_training_job(**training(cloud, "", TrainingJobName="more"))
    assert limited.value.response["Error"]["Code"] == "ResourceLimitExceeded"


def test_two_machines_find_each_other(cloud: Cloud) -> None:
    script = """
import json, pathlib, socket, time
about = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
print(about["current_host"], about["hosts"], socket.gethostbyname("algo-1"), socket.gethostbyname("algo-2"))
if about["current_host"] == "algo-1":
    server = socket.create_server(("algo-1", 17117))
    print(server.accept()[0].recv(9))
else:
    for _ in range(200):
        try:
            socket.create_connection(("algo-1", 17117)).send(b"from two")
            break
        except OSError:
            time.sleep(0.05)
"""
    request = training(cloud, script)
    request["ResourceConfig"]["InstanceCount"] = 2
    cloud.aws("sagemaker").create_training_job(**request)
    assert wait_for_end(cloud)["TrainingJobStatus"] == "Completed", log_lines(cloud)
    assert log_lines(cloud) == ["algo-1 ['algo-1', 'algo-2'] 127.0.0.1 127.0.0.1", "b'from two'"]
    assert log_lines(cloud, prefix="job/algo-2") == ["algo-2 ['algo-1', 'algo-2'] 127.0.0.1 127.0.0.1"]


@pytest.mark.slow
def test_a_processing_job_reads_inputs_and_writes_outputs(cloud: Cloud) -> None:
    cloud.client().put_object(Bucket=cloud.name, Key="in/a.txt", Body=b"cards")
    script = """
import json, pathlib
processing = pathlib.Path("/opt/ml/processing")
json.loads(pathlib.Path("/opt/ml/config/processingjobconfig.json").read_text())["ProcessingJobArn"]
(processing / "out/b.txt").write_text((processing / "in/a.txt").read_text().upper())
pathlib.Path("/opt/ml/output/message").write_text("all went well")
print("done")
"""
    cloud.client().put_object(Bucket=cloud.name, Key="in/script.py", Body=script.encode())
    source = {"S3Uri": f"{cloud.uri}/in", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix"}
    target = {"S3Uri": f"{cloud.uri}/made", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    request: dict[str, Any] = {
        "ProcessingJobName": "work",
        "RoleArn": cloud.role,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python", "/opt/ml/processing/in/script.py"]},
        "ProcessingInputs": [{"InputName": "in", "S3Input": {**source, "S3InputMode": "File"}}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": target}]},
        "ProcessingResources": {"ClusterConfig": cluster},
    }
    sagemaker = cloud.aws("sagemaker")
    sagemaker.create_processing_job(**request)
    until(lambda: sagemaker.describe_processing_job(ProcessingJobName="work")["ProcessingJobStatus"] != "InProgress")
    job = sagemaker.describe_processing_job(ProcessingJobName="work")
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "all went well"), job
    assert fetch(cloud, "made/b.txt") == b"CARDS"
    assert log_lines(cloud, "ProcessingJobs", "work/") == ["done"]
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/tmp/in"
    with pytest.raises(ClientError, match="must begin with /opt/ml/processing/"):
        sagemaker.create_processing_job(**request | {"ProcessingJobName": "more"})


@pytest.mark.slow
def test_containers_die_with_the_cloud() -> None:
    with started() as server:
        cloud = dataclasses.replace(server, name=server.bucket(), role=server.new_role("execution"))
        cloud.aws("sagemaker").create_training_job(**training(cloud, "import time; print('working'); time.sleep(60.5)"))
        until(lambda: cloud.aws("logs").describe_log_groups()["logGroups"] and "working" in log_lines(cloud))
        (before,) = running("code/script.py")
        os.kill(cloud.pid, signal.SIGKILL)
        until(lambda: before not in running("code/script.py"))


def running(words: str) -> set[int]:
    """Return the processes of this machine whose command contains these words."""
    pids = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if (
                b"python\0-u\0" in (line := command.read_bytes())
                and line.startswith(b"python")
                and words.encode() in line
            ):
                pids.add(int(command.parent.name))
    return pids


def test_job_fails_when_its_output_bucket_is_deleted(cloud: Cloud) -> None:
    script = """
import os, pathlib, time
import boto3
pathlib.Path("/opt/ml/model/m").write_text("m")
print("working")
while boto3.client("s3").list_buckets()["Buckets"]:
    time.sleep(0.05)
"""
    cloud.aws("sagemaker").create_training_job(**training(cloud, script))
    until(lambda: cloud.aws("logs").describe_log_groups()["logGroups"] and "working" in log_lines(cloud))
    cloud.vanish()
    assert wait_for_end(cloud)["FailureReason"].startswith("ClientError: Artifact upload failed")
