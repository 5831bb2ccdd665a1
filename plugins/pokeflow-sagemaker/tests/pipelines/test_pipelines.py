"""The lineage as SageMaker's pipelines: files that rebuild them, stable definitions, executions that stop at gates."""

import ast
import dataclasses
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pokeflow
from pokeflow import ConfigError, PokeflowError, RemoteStore
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.bundle import inference
from pokeflow_sagemaker.pipelines import codegen, control, lineage
from pokeflow_sagemaker.pipelines.steps import Endpoint, Gates, Pipeline, Register, Run, Transform
from pokeflow_sagemaker.serving import model

from ..commands_support import CLOUD_FLOW as TOY
from ..commands_support import call

REGION = "us-east-1"
JOB_ROLE = "cloud.pipeline.params.machine.account.role"
OWNERS = {
    "teacher_pipeline",
    "student_pipeline",
    "batch_inference_pipeline",
    "realtime_endpoint_pipeline",
    "model_packaging_pipeline",
    "edge_deployment_pipeline",
}


def resolved(*overrides):
    return pokeflow.load(["cloud=sagemaker", *(word for word in overrides if word != "cloud=sagemaker")])


def written(*overrides):
    flow = resolved("cloud=sagemaker", *overrides)
    return lineage.write(flow.step("pipeline:project").params, flow.remote_store)


def rebuilt(source):
    """Execute a written file and return its pipeline."""
    names = {"__name__": "written"}
    exec(compile(source, "written.py", "exec"), names)
    return names["PIPELINE"]


@pytest.fixture(scope="module")
def owners():
    """The pipelines of the shipped lineage, as they are on AWS."""
    return written("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")


@pytest.mark.slow
def test_shipped_lineage_has_six_pipelines(owners):
    assert set(owners.pipelines) == OWNERS == set(lineage.NAMES)


def test_a_written_file_rebuilds_its_pipeline(owners):
    for name, pipeline in owners.pipelines.items():
        assert rebuilt(codegen.render_module(name, pipeline)) == pipeline


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_written_file_rebuilds_arbitrary_descriptions(about, properties):
    step = Register("register-x", "g", "k", "i", about, properties, ("image/jpeg",), ("ml.m5.large",), ())
    pipeline = Pipeline("p", "about", "x", RemoteStore("s3://b"), None, (step,))

    assert rebuilt(codegen.render_module("p", pipeline)).steps == (step,)


WRAPPERS = [str, lambda text: f'{text}"""\nraise SystemExit\n"""', lambda text: f"{text}\\\\", lambda text: f'{text}"']


@given(st.text(), st.text(), st.sampled_from(WRAPPERS), st.sampled_from(WRAPPERS))
def test_no_text_becomes_code(project, about, around_project, around_about):
    pipeline = Pipeline("p", around_about(about), around_project(project), RemoteStore("s3://b"), None, ())
    source = codegen.render_module("p", pipeline)

    assert [type(part).__name__ for part in ast.parse(source).body] == ["Expr", *["ImportFrom"] * 2, "Assign", "If"]
    assert rebuilt(source) == pipeline


@pytest.mark.slow
def test_written_files_depend_only_on_the_configuration(owners):
    again = written("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")

    assert again == owners
    assert {n: codegen.render_module(n, p) for n, p in again.pipelines.items()} == {
        n: codegen.render_module(n, p) for n, p in owners.pipelines.items()
    }


def test_a_model_is_packed_and_registered_behind_its_gates(owners):
    stage1 = next(step for step in owners.pipelines["student_pipeline"].steps if isinstance(step, Gates))

    assert stage1.gates == ("top1_accuracy",)
    assert [step.name for step in stage1.then] == [
        "bundle-efficientnet-student-stage1",
        "register-efficientnet-student-stage1",
    ]


def test_derived_model_waits_for_its_parents_gates(owners):
    runs = {run.name: run for run in owners.pipelines["student_pipeline"].runs()}

    assert runs["distill-efficientnet-student-stage2"].needs == ("gates-efficientnet-student-stage1",)


def test_outputs_of_other_pipelines_are_listed_as_needed(owners):
    needed = dict(owners.pipelines["student_pipeline"].needed)

    assert set(needed) == {"prepare:data", "train:dinov3-teacher"}
    assert all(re.fullmatch(r"tasks/\w+/[\w.-]+/[0-9a-f]{16}", key) for key in needed.values())


def test_machine_configured_for_a_model_is_kept():
    own = "{name: sagemaker, params: {instance_type: ml.g5.xlarge}}"
    override = f"lineage.models.dinov3-teacher.executor={own}"
    runs = {
        r.name: r for r in written("store=s3", "store.remote=s3://b-u/p", override).pipelines["teacher_pipeline"].runs()
    }

    assert runs["train-dinov3-teacher"].machine.instance_type == "ml.g5.xlarge"
    assert runs["benchmark-dinov3-teacher"].machine.instance_type == "ml.m5.xlarge"


def test_pipeline_without_a_bucket_cannot_run():
    pipeline = written().pipelines["teacher_pipeline"]

    with pytest.raises(ConfigError, match="generated without a bucket"):
        control.open_objects(pipeline)


@pytest.fixture
def run(cloud, tmp_path, monkeypatch, capsys):
    """Run the pipeline command over the toy lineage and the test cloud; return its output."""
    monkeypatch.chdir(tmp_path)
    role = cloud.new_role("pipeline")
    options = [
        *("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}", "executor=local"),
        f"cloud.pipeline.params.role={role}",
        f"{JOB_ROLE}={cloud.role}",
        "lineage.gates={latency_p50_ms: {max: 1}}",
    ]

    def go(*words, flow=TOY):
        assert call("pipeline", [*flow, *options, *words]) == 0
        return capsys.readouterr().out

    return go


def execution(cloud, pipeline="pokemon-card-recognition-teacher-pipeline"):
    """Wait for the newest execution to end; return it and its steps by name."""
    client = cloud.aws("sagemaker")
    listed = client.list_pipeline_executions(PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending")
    arn = listed["PipelineExecutionSummaries"][0]["PipelineExecutionArn"]
    for _ in range(600):
        description = client.describe_pipeline_execution(PipelineExecutionArn=arn)
        if description["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
            break
        time.sleep(0.1)
    steps = client.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return description, {step["StepName"]: step for step in steps}


@pytest.mark.slow
def test_six_pipelines_are_created_then_unchanged(run, cloud, tmp_path):
    real = ("registry=sagemaker", "tracking=none", "cloud=sagemaker")
    for name in sorted(OWNERS):
        assert "created" in run(name, flow=real)
    cloud.forget()
    for name in sorted(OWNERS):
        assert "unchanged" in run(name, flow=real)

    assert cloud.mutating() == {}
    assert cloud.calls("CreatePipeline") == cloud.calls("UpdatePipeline") == []


@pytest.mark.slow
def test_pipeline_files_are_published_by_category(run, cloud):
    said = run(flow=("tracking=none", "cloud=sagemaker"))
    assert "6 files sent; metadata written: " in said
    below = f"{cloud.uri.removeprefix('s3://')}"
    listed = cloud.client().list_objects_v2(Bucket=below, Prefix="p/project/pokemon-card-recognition/pipelines/")

    assert {entry["Key"].rpartition("pipelines/")[2] for entry in listed["Contents"]} == {
        "training/teacher_pipeline.py",
        "training/student_pipeline.py",
        "inference/batch_inference_pipeline.py",
        "inference/realtime_endpoint_pipeline.py",
        "deployment/model_packaging_pipeline.py",
        "deployment/edge_deployment_pipeline.py",
    }


@pytest.mark.slow
def test_a_change_of_the_lineage_updates_the_definition(run, cloud):
    run("teacher_pipeline")
    assert "updated" in run("teacher_pipeline", "lineage.models.teacher.params.lr=0.2")


@pytest.mark.usefixtures("containers")
@pytest.mark.slow
def test_execution_trains_and_benchmarks_then_uses_the_cache(run, cloud):
    run("teacher_pipeline", "start")
    result, steps = execution(cloud)
    assert result["PipelineExecutionStatus"] == "Succeeded", result
    assert {name: step["StepStatus"] for name, step in steps.items()} == dict.fromkeys(
        ("train-teacher", "benchmark-teacher", "gates-teacher"), "Succeeded"
    )
    flow = resolved(*TOY, "store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}")
    key = f"p/tasks/train/teacher/{flow.step('train:teacher').digest}/record.json"
    record = json.loads(cloud.client().get_object(Bucket=cloud.name, Key=key)["Body"].read())
    assert (record["executor"], record["metrics"]) == ("sagemaker", {"score": 0.1})
    assert record["environment"]["training_job"].startswith("pipelines-")

    run("teacher_pipeline", "start")
    result, steps = execution(cloud)
    assert result["PipelineExecutionStatus"] == "Succeeded"
    assert all(steps[name].get("CacheHitResult") for name in ("train-teacher", "benchmark-teacher"))
    assert len(cloud.calls("CreateTrainingJob")) <= 1  # those of pipelines are SageMaker's own


@pytest.mark.usefixtures("containers")
@pytest.mark.slow
def test_missed_gates_fail_the_execution_with_the_reason(run, cloud):
    run("teacher_pipeline", "start", "lineage.post_stages.benchmark.params.value=3.0")
    result, steps = execution(cloud)

    assert result["PipelineExecutionStatus"] == "Failed"
    assert steps["gates-teacher"]["Metadata"]["Condition"]["Outcome"] == "False"
    missed = next(step for name, step in steps.items() if name.endswith("missed"))
    assert "teacher does not pass its gates (latency_p50_ms)" in json.dumps(missed, default=str)


@pytest.mark.slow
def test_pipeline_with_missing_inputs_is_not_started(run, cloud):
    with pytest.raises(PokeflowError, match=r"train:teacher: not in s3://.* yet"):
        run("student_pipeline", "start")

    assert cloud.calls("CreatePipeline") == []


def test_exceeded_budget_starts_nothing(run, cloud):
    with pytest.raises(ConfigError, match=r"may cost \$11\.04, above the budget of \$5\.00"):
        run("teacher_pipeline", "start", "project.budget_usd=5.0")

    assert set(cloud.mutating()) <= {"CreateRole", "PutObject", "DeleteObject"}  # the written files, and no more
    assert cloud.calls("CreatePipeline") == []


def test_unknown_pipeline_name_gets_a_suggestion(run):
    with pytest.raises(ConfigError, match=r"no pipeline 'techer_pipeline'. Did you mean 'teacher_pipeline'"):
        run("techer_pipeline")


def test_unknown_name_or_missing_bucket_publishes_nothing(cloud, tmp_path):
    for words, says in (
        (("techer_pipeline", "store=s3", f"store.remote={cloud.uri}/p"), "Did you mean 'teacher_pipeline'"),
        (("teacher_pipeline",), "Set store=s3"),
    ):
        with pytest.raises(ConfigError, match=says):
            call("pipeline", [*TOY, f"store.root={tmp_path}", *words])

    below = [*cloud.client().list_objects_v2(Bucket=cloud.name).get("Contents", []), *tmp_path.rglob("*")]
    assert not [path for path in map(str, below) if "project" in path.replace("pipeline/project", "")]


def test_deleted_bucket_is_reported_before_anything_is_written(run, cloud, tmp_path):
    cloud.vanish()
    with pytest.raises(PokeflowError, match="the bucket does not exist"):
        run("teacher_pipeline")
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"{}", b"["])
def test_damaged_task_file_is_sent_again(run, cloud, damage):
    run("teacher_pipeline")
    client = cloud.client()
    listed = client.list_objects_v2(Bucket=cloud.name, Prefix="p/jobs/")["Contents"]
    keys = [row["Key"] for row in listed if row["Key"].endswith("/task.json")]
    sound = {key: client.get_object(Bucket=cloud.name, Key=key)["Body"].read() for key in keys}
    client.put_object(Bucket=cloud.name, Key=keys[0], Body=damage)

    assert "unchanged" in run("teacher_pipeline")
    assert {key: client.get_object(Bucket=cloud.name, Key=key)["Body"].read() for key in keys} == sound


def test_pipelines_refuse_a_selection_of_models_or_stages(cloud, tmp_path):
    for word in ("stages=[train]", "models=[teacher]"):
        with pytest.raises(ConfigError, match="from the whole lineage"):
            call("pipeline", [*TOY, f"store.root={tmp_path}", word])


def test_unexpected_action_arguments_are_reported(owners, capsys):
    for words in (["start", "now"], ["upsert", "Source=s3://b/"], ["Source=s3://b/"]):
        with pytest.raises(SystemExit) as left:
            control.main(owners.pipelines["teacher_pipeline"], words)
        assert left.value.code == 2
        assert "unexpected argument" in capsys.readouterr().err


def test_missing_and_misspelt_parameters_are_reported(cloud):
    pipeline = written("store=s3", f"store.remote={cloud.uri}/p").pipelines["batch_inference_pipeline"]

    with pytest.raises(ConfigError, match="needs Destination: start Destination=s3://bucket/prefix/"):
        control.parameters(pipeline, {"Source": "s3://b/p/"})
    with pytest.raises(SystemExit):
        control.main(pipeline, ["start", "Source=s3://b/p/"])
    assert "CreatePipeline" not in cloud.mutating()
    with pytest.raises(ConfigError, match=r"no parameter 'Sorce'. Did you mean 'Source'"):
        control.parameters(pipeline, {"Sorce": "s3://b/p/", "Destination": "s3://b/q/"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"denied": ("CreatePipeline",)}, "access denied"),
        ({"expired": True}, "credentials have expired"),
    ],
)
def test_a_refusal_is_one_paragraph(run, cloud, trouble, says):
    run("teacher_pipeline", "store.remote=s3://" + cloud.name + "/p")
    cloud.trouble(**trouble)

    with pytest.raises(PokeflowError, match=says) as caught:
        run("edge_deployment_pipeline")

    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_written_file_can_upsert_and_print_its_pipeline(run, cloud, capsys, monkeypatch):
    run("teacher_pipeline")
    role = aws.ask(aws.client("iam", REGION).get_role, "role", RoleName="pipeline")["Role"]["Arn"]
    bucket = ("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}")
    roles = (f"cloud.pipeline.params.role={role}", f"{JOB_ROLE}={cloud.role}")
    flow = resolved(*TOY, *bucket, *roles, "lineage.gates={latency_p50_ms: {max: 1}}")
    pipeline = lineage.write(flow.step("pipeline:project").params, flow.remote_store).pipelines["teacher_pipeline"]
    control.main(rebuilt(codegen.render_module("teacher_pipeline", pipeline)), ["upsert"])
    assert capsys.readouterr().out.strip().endswith("unchanged")
    control.main(pipeline, ["print"])
    assert [step["Name"] for step in json.loads(capsys.readouterr().out)["Steps"]] == [
        "train-teacher",
        "benchmark-teacher",
        "gates-teacher",
    ]
    with pytest.raises(SystemExit) as left:
        control.main(pipeline, ["delete"])
    assert left.value.code == 2


def test_every_run_has_a_task_file(owners):
    keys = [run.task for pipeline in owners.pipelines.values() for run in pipeline.runs()]

    assert {file.key for file in owners.files} >= set(keys)
    assert all(isinstance(run, Run) for pipeline in owners.pipelines.values() for run in pipeline.runs())


def test_inference_pipelines_create_endpoint_and_transform(cloud):
    cloud.trouble(becoming=0.02)
    pipelines = written("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}", f"{JOB_ROLE}={cloud.role}")
    for name, values in (
        ("realtime_endpoint_pipeline", {}),
        ("batch_inference_pipeline", {"Source": "in", "Destination": "out"}),
    ):
        pipeline = pipelines.pipelines[name]
        key = pipeline.needed[0][1]
        for file in ("record.json", "model.tar.gz"):
            cloud.client().put_object(Bucket=cloud.name, Key=f"p/{key}/{file}", Body=b"{}")
        cloud.client().put_object(Bucket=cloud.name, Key="in/a.jpg", Body=b"jpeg")
        objects = control.open_objects(pipeline)
        prepared = control.prepare(pipeline, objects)
        control.upsert(dataclasses.replace(pipeline, role=cloud.role), objects, prepared)
        control.start(pipeline, objects, prepared, {key: f"{cloud.uri}/{value}/" for key, value in values.items()})
        done, steps = execution(cloud, pipeline.name)

        assert done["PipelineExecutionStatus"] == "Succeeded", (done, steps)
    name = model.base("pokemon-card-recognition", "efficientnet-hailo-optimized")
    endpoint = cloud.aws("sagemaker").describe_endpoint(EndpointName=name)
    assert endpoint["EndpointStatus"] == "InService"


def test_pipeline_and_deploy_use_the_same_endpoint_name():
    student = "{version: v1, type: student, stage: train, backend: torch, params: {network: {name: resnet18}}}"
    bucket = ("store=s3", "store.remote=s3://b-u/p", f"lineage.models.student_1={student}")
    pipelines = written(*bucket, "cloud.pipeline.params.serve=student_1").pipelines
    (endpoint,) = (step for step in pipelines["realtime_endpoint_pipeline"].steps if isinstance(step, Endpoint))

    assert endpoint.endpoint == model.base("pokemon-card-recognition", "student_1")


def test_large_images_lower_the_batch_concurrency():
    bucket = ("store=s3", "store.remote=s3://b-u/p")
    batch = written(*bucket, "cloud.bundle.params.max_bytes=40000000").pipelines["batch_inference_pipeline"]
    job = next(step for step in batch.steps if isinstance(step, Transform))

    assert (job.payload_mb, job.at_once) == (40, 2)


def test_package_and_bundle_accept_the_same_content_types():
    assert (*inference.IMAGES, inference.JSON) == lineage.CONTENT_TYPES


@pytest.fixture
def endpoint(cloud):
    """Create an endpoint's pipeline in a slow cloud; return functions that start and change it."""
    bucket = ("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}", f"{JOB_ROLE}={cloud.role}")
    pipeline = dataclasses.replace(written(*bucket).pipelines["realtime_endpoint_pipeline"], role=cloud.role)
    cloud.trouble(becoming=2)
    for file in ("record.json", "model.tar.gz"):
        cloud.client().put_object(Bucket=cloud.name, Key=f"p/{pipeline.needed[0][1]}/{file}", Body=b"{}")
    objects = control.open_objects(pipeline)
    prepared = control.prepare(pipeline, objects)
    control.upsert(pipeline, objects, prepared)

    def changed():
        steps = tuple(dataclasses.replace(s, instances=2) if isinstance(s, Endpoint) else s for s in pipeline.steps)
        control.upsert(dataclasses.replace(pipeline, steps=steps), objects, prepared)

    return SimpleNamespace(
        name=pipeline.name, start=lambda: control.start(pipeline, objects, prepared, {}), changed=changed
    )


def test_concurrent_starts_create_one_execution(endpoint, cloud):
    with ThreadPoolExecutor(4) as pool:
        started = {future.result() for future in [pool.submit(endpoint.start) for _ in range(4)]}

    assert len(started) == 1
    cloud.settle()
    assert execution(cloud, endpoint.name)[0]["PipelineExecutionArn"] == started.pop()


@pytest.mark.slow
def test_changed_definition_starts_another_execution(endpoint):
    first = endpoint.start()
    assert endpoint.start() == first
    endpoint.changed()
    assert endpoint.start() != first


def test_stopping_execution_is_not_reused(endpoint, cloud):
    first = endpoint.start()
    cloud.aws("sagemaker").stop_pipeline_execution(PipelineExecutionArn=first)
    assert endpoint.start() != first
