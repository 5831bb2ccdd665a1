"""Check pipelines of the test cloud: definitions are validated, and steps run."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pokeflow_testkit.cloud import IMAGE, Cloud

EVALUATE = """
import json, pathlib
processing = pathlib.Path("/opt/ml/processing")
size = (processing / "model/model.tar.gz").stat().st_size
(processing / "report/report.json").write_text(json.dumps({"top1": {"value": size / 1e6}}))
"""
TRAIN = "open('/opt/ml/model/weights', 'w').write('weights')"


def until(done: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for a true value, and return it."""
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def train(cloud: Cloud, name: str = "Train", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{cloud.uri}/code/", "S3DataDistributionType": "FullyReplicated"}
    arguments = {
        "RoleArn": cloud.role,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "/opt/ml/input/data/code/train.py"],
        },
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"{cloud.uri}/out"},
        "ResourceConfig": {
            "InstanceType": {"Get": "Parameters.Instance"},
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "HyperParameters": {"epochs": {"Get": "Parameters.Epochs"}},
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def evaluate(cloud: Cloud) -> dict[str, Any]:
    def input_of(name: str, uri: Any) -> dict[str, Any]:
        options = {"LocalPath": f"/opt/ml/processing/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
        return {"InputName": name, "S3Input": {"S3Uri": uri, **options}}

    report = {"S3Uri": f"{cloud.uri}/report", "LocalPath": "/opt/ml/processing/report", "S3UploadMode": "EndOfJob"}
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    script = "/opt/ml/processing/code/evaluate.py"
    return {
        "Name": "Evaluate",
        "Type": "Processing",
        "Arguments": {
            "RoleArn": cloud.role,
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python", script]},
            "ProcessingInputs": [
                input_of("model", {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}),
                input_of("code", {"Std:Join": {"On": "/", "Values": [cloud.uri, "code"]}}),
            ],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": report}]},
            "ProcessingResources": {"ClusterConfig": cluster},
        },
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}],
    }


def judge(least: float, step: dict[str, Any]) -> dict[str, Any]:
    value = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "top1.value"}}
    condition = {"Type": "GreaterThanOrEqualTo", "LeftValue": value, "RightValue": least}
    bad = {"Name": "TooBad", "Type": "Fail", "Arguments": {"ErrorMessage": "not good enough"}}
    return {
        "Name": "Judge",
        "Type": "Condition",
        "Arguments": {"Conditions": [condition], "IfSteps": [step], "ElseSteps": [bad]},
    }


def register(cloud: Cloud) -> dict[str, Any]:
    uri = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    containers = [{"Image": IMAGE, "ModelDataUrl": uri}]
    arguments = {"ModelPackageGroupName": "cards", "InferenceSpecification": {"Containers": containers}}
    return {"Name": "Register", "Type": "RegisterModel", "Arguments": arguments}


def definition(*steps: dict[str, Any]) -> str:
    parameters = [
        {"Name": "Epochs", "Type": "String", "DefaultValue": "1"},
        {
            "Name": "Instance",
            "Type": "String",
            "DefaultValue": "ml.m5.large",
            "EnumValues": ["ml.m5.large", "ml.p3.2xlarge"],
        },
    ]
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": steps})


def create(cloud: Cloud, text: str) -> None:
    for name, script in (("train", TRAIN), ("evaluate", EVALUATE)):
        cloud.client().put_object(Bucket=cloud.name, Key=f"code/{name}.py", Body=script.encode())
    cloud.aws("sagemaker").create_model_package_group(ModelPackageGroupName="cards")
    request = {"PipelineName": "p", "RoleArn": cloud.role, "PipelineDefinition": text}
    cloud.aws("sagemaker").create_pipeline(**request, ClientRequestToken="t" * 32)


def execute(cloud: Cloud, token: str = "e", **parameters: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Run the pipeline to its end, and return the execution with its steps by name."""
    sagemaker = cloud.aws("sagemaker")
    values = [{"Name": name, "Value": value} for name, value in parameters.items()]
    arn = sagemaker.start_pipeline_execution(
        PipelineName="p", PipelineParameters=values, ClientRequestToken=token * 32
    )["PipelineExecutionArn"]
    describe = sagemaker.describe_pipeline_execution
    until(lambda: describe(PipelineExecutionArn=arn)["PipelineExecutionStatus"] not in ("Executing", "Stopping"))
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return dict(describe(PipelineExecutionArn=arn)), {step["StepName"]: step for step in steps}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[:-1], "It is not JSON"),
        (lambda text: text.replace("2020-12-01", "2021"), "Version must be 2020-12-01"),
        (lambda text: text.replace("Steps.Train.", "Steps.Trian."), "refers to step Trian, which is not there"),
        (lambda text: text.replace("Parameters.Epochs", "Parameters.Epoch"), "refers to parameter Epoch"),
        (lambda text: text.replace("PropertyFiles.Report", "PropertyFiles.Other"), "has no property file Other"),
        (lambda text: text.replace('"Evaluate"', '"Train"'), "Step names must be unique: Train"),
        (lambda text: text.replace('"MaxRuntimeInSeconds"', '"MaxRuntime"'), "maxRuntime' failed .* is not known"),
        (lambda text: text.replace('"Name": "Train"', '"DependsOn": ["Judge"], "Name": "Train"'), "in a cycle"),
        (lambda text: text.replace('"Fail"', '"Lambda"'), "Steps of type Lambda: add them"),
    ],
)
def test_definition_that_could_not_run_is_refused(cloud: Cloud, change: Callable[[str], str], sentence: str) -> None:
    text = change(definition(train(cloud), evaluate(cloud), judge(0.0, register(cloud))))
    with pytest.raises(ClientError, match=sentence):
        create(cloud, text)


@pytest.mark.slow
def test_pipeline_is_created_once_and_updated(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    create(cloud, definition(train(cloud)))
    request = {"PipelineName": "p", "RoleArn": cloud.role, "PipelineDefinition": definition(train(cloud))}
    assert sagemaker.create_pipeline(**request, ClientRequestToken="t" * 32)["PipelineArn"].endswith("pipeline/p")
    with pytest.raises(ClientError, match="used before with other parameters"):
        sagemaker.create_pipeline(**request | {"PipelineName": "q"}, ClientRequestToken="t" * 32)
    with pytest.raises(ClientError, match="Pipeline names must be unique"):
        sagemaker.create_pipeline(**request, ClientRequestToken="u" * 32)
    text = definition(train(cloud, "More"))
    assert sagemaker.update_pipeline(PipelineName="p", PipelineDefinition=text)["PipelineVersionId"] == 2
    assert sagemaker.describe_pipeline(PipelineName="p")["PipelineDefinition"] == text
    with pytest.raises(ClientError, match=r"Parameters .* are not defined"):
        execute(cloud, Epoch="2")
    with pytest.raises(ClientError, match="must be one of"):
        execute(cloud, Instance="ml.g5.xlarge")
    sagemaker.delete_pipeline(PipelineName="p", ClientRequestToken="d" * 32)
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_pipeline(PipelineName="p")


@pytest.mark.slow
@pytest.mark.usefixtures("containers")
def test_steps_run_in_order_and_reuse_the_cache(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    cached = train(cloud, CacheConfig={"Enabled": True, "ExpireAfter": "P1D"})
    create(cloud, definition(judge(1e-6, register(cloud)), evaluate(cloud), cached))
    execution, steps = execute(cloud, Epochs="3")
    assert execution["PipelineExecutionStatus"] == "Succeeded", (execution, steps)
    assert list(steps) == ["Register", "Judge", "Evaluate", "Train"]
    assert steps["Judge"]["Metadata"]["Condition"]["Outcome"] == "True"
    arn = steps["Train"]["Metadata"]["TrainingJob"]["Arn"]
    job = sagemaker.describe_training_job(TrainingJobName=arn.rpartition("/")[2])
    assert (job["TrainingJobStatus"], job["HyperParameters"]) == ("Completed", {"epochs": "3"})
    (package,) = sagemaker.list_model_packages(ModelPackageGroupName="cards")["ModelPackageSummaryList"]
    assert steps["Register"]["Metadata"]["RegisterModel"]["Arn"] == package["ModelPackageArn"]
    again, steps = execute(cloud, "f", Epochs="3")
    assert again["PipelineExecutionStatus"] == "Succeeded"
    assert steps["Train"]["CacheHitResult"]["SourcePipelineExecutionArn"] == execution["PipelineExecutionArn"]
    assert steps["Train"]["Metadata"]["TrainingJob"]["Arn"] == arn
    assert "CacheHitResult" not in steps["Evaluate"]
    assert "CacheHitResult" not in execute(cloud, "g", Epochs="4")[1]["Train"]
    executions = sagemaker.list_pipeline_executions(PipelineName="p")["PipelineExecutionSummaries"]
    assert len(executions) == 3
    same = sagemaker.start_pipeline_execution(
        PipelineName="p", PipelineParameters=[{"Name": "Epochs", "Value": "3"}], ClientRequestToken="e" * 32
    )
    assert same["PipelineExecutionArn"] == execution["PipelineExecutionArn"]


@pytest.mark.usefixtures("containers")
def test_unmet_condition_fails_with_the_pipeline_s_message(cloud: Cloud) -> None:
    create(cloud, definition(train(cloud), evaluate(cloud), judge(0.9, register(cloud))))
    execution, steps = execute(cloud)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "not good enough" in execution["FailureReason"]
    assert steps["TooBad"]["Metadata"]["Fail"]["ErrorMessage"] == "not good enough"
    assert steps["Judge"]["Metadata"]["Condition"]["Outcome"] == "False"
    assert "Register" not in steps


@pytest.mark.usefixtures("containers")
def test_failed_step_is_retried_by_policy_or_on_request(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "MaxAttempts": 2, "IntervalSeconds": 1}
    create(cloud, definition(train(cloud, RetryPolicies=[policy])))
    cloud.trouble(capacity=["ml.m5.large"], capacity_times=2)
    execution, steps = execute(cloud)
    assert (execution["PipelineExecutionStatus"], steps["Train"]["AttemptCount"]) == ("Succeeded", 3)
    cloud.trouble(capacity=["ml.m5.large"])
    execution, steps = execute(cloud, "f")
    assert steps["Train"]["FailureReason"].startswith("CapacityError")
    cloud.trouble()
    arn = execution["PipelineExecutionArn"]
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="r" * 32)
    describe = sagemaker.describe_pipeline_execution
    until(lambda: describe(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Succeeded")


@pytest.mark.usefixtures("containers")
def test_an_execution_is_stopped_with_its_job(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    create(cloud, definition(train(cloud), evaluate(cloud)))
    script = "import time; print('working'); time.sleep(60)"
    cloud.client().put_object(Bucket=cloud.name, Key="code/train.py", Body=script.encode())
    cloud.trouble(grace=0.1)
    arn = sagemaker.start_pipeline_execution(PipelineName="p", ClientRequestToken="e" * 32)["PipelineExecutionArn"]
    jobs = until(lambda: sagemaker.list_training_jobs()["TrainingJobSummaries"])
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 32)
    describe = sagemaker.describe_pipeline_execution
    until(lambda: describe(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Stopped")
    job = sagemaker.describe_training_job(TrainingJobName=jobs[0]["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Stopped"
    (step,) = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert (step["StepName"], step["StepStatus"]) == ("Train", "Stopped")
