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
from pokeflow_sagemaker.pipelines import control, lineage, text
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
    return lineage.write(flow.step("pipeline:project").params, flow.shared)


def rebuilt(source):
    """What a written file says when it is run."""
    names = {"__name__": "written"}
    exec(compile(source, "written.py", "exec"), names)
    return names["PIPELINE"]


@pytest.fixture(scope="module")
def owners():
    """The pipelines of the shipped lineage, as they are on AWS."""
    return written("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")


def test_the_owners_lineage_has_the_owners_six(owners):
    assert set(owners.pipelines) == OWNERS == set(lineage.NAMES)


def test_a_written_file_rebuilds_its_pipeline(owners):
    for name, pipeline in owners.pipelines.items():
        assert rebuilt(text.file(name, pipeline)) == pipeline


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_whatever_it_says_of_itself(about, properties):
    step = Register("register-x", "g", "k", "i", about, properties, ("image/jpeg",), ("ml.m5.large",), ())
    pipeline = Pipeline("p", "about", "x", RemoteStore("s3://b"), None, (step,))

    assert rebuilt(text.file("p", pipeline)).steps == (step,)


TELLING = [str, lambda text: f'{text}"""\nraise SystemExit\n"""', lambda text: f"{text}\\\\", lambda text: f'{text}"']


@given(st.text(), st.text(), st.sampled_from(TELLING), st.sampled_from(TELLING))
def test_no_text_becomes_code(project, about, around_project, around_about):
    pipeline = Pipeline("p", around_about(about), around_project(project), RemoteStore("s3://b"), None, ())
    source = text.file("p", pipeline)

    assert [type(part).__name__ for part in ast.parse(source).body] == ["Expr", *["ImportFrom"] * 2, "Assign", "If"]
    assert rebuilt(source) == pipeline


def test_what_is_written_follows_from_the_configuration_alone(owners):
    again = written("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")

    assert again == owners
    assert {n: text.file(n, p) for n, p in again.pipelines.items()} == {
        n: text.file(n, p) for n, p in owners.pipelines.items()
    }


def test_a_model_is_packed_and_registered_behind_its_gates(owners):
    stage1 = next(step for step in owners.pipelines["student_pipeline"].steps if isinstance(step, Gates))

    assert stage1.gates == ("top1_accuracy",)
    assert [step.name for step in stage1.then] == [
        "bundle-efficientnet-student-stage1",
        "register-efficientnet-student-stage1",
    ]


def test_what_is_made_of_a_model_waits_for_its_gates(owners):
    runs = {run.name: run for run in owners.pipelines["student_pipeline"].runs()}

    assert runs["distill-efficientnet-student-stage2"].needs == ("gates-efficientnet-student-stage1",)


def test_what_another_pipeline_makes_must_be_there(owners):
    needed = dict(owners.pipelines["student_pipeline"].needed)

    assert set(needed) == {"prepare:data", "train:dinov3-teacher"}
    assert all(re.fullmatch(r"tasks/\w+/[\w.-]+/[0-9a-f]{16}", key) for key in needed.values())


def test_a_machine_of_the_lineage_is_kept():
    own = "{name: sagemaker, params: {instance_type: ml.g5.xlarge}}"
    place = f"lineage.models.dinov3-teacher.executor={own}"
    runs = {
        r.name: r for r in written("store=s3", "store.remote=s3://b-u/p", place).pipelines["teacher_pipeline"].runs()
    }

    assert runs["train-dinov3-teacher"].machine.instance_type == "ml.g5.xlarge"
    assert runs["benchmark-dinov3-teacher"].machine.instance_type == "ml.m5.xlarge"


def test_without_a_bucket_they_can_be_read_and_not_run():
    pipeline = written().pipelines["teacher_pipeline"]

    with pytest.raises(ConfigError, match="generated without a bucket"):
        control.open_objects(pipeline)


@pytest.fixture
def run(cloud, tmp_path, monkeypatch, capsys):
    """The command, over the toy lineage and the test cloud; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    role = cloud.new_role("pipeline")
    given = [
        *("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}", "executor=local"),
        f"cloud.pipeline.params.role={role}",
        f"{JOB_ROLE}={cloud.role}",
        "lineage.gates={latency_p50_ms: {max: 1}}",
    ]

    def go(*words, flow=TOY):
        assert call("pipeline", [*flow, *given, *words]) == 0
        return capsys.readouterr().out

    return go


def execution(cloud, pipeline="pokemon-card-recognition-teacher-pipeline"):
    """The newest execution once it has ended, and its steps by name."""
    client = cloud.aws("sagemaker")
    listed = client.list_pipeline_executions(PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending")
    arn = listed["PipelineExecutionSummaries"][0]["PipelineExecutionArn"]
    for _ in range(600):
        found = client.describe_pipeline_execution(PipelineExecutionArn=arn)
        if found["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
            break
        time.sleep(0.1)
    steps = client.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return found, {step["StepName"]: step for step in steps}


@pytest.mark.slow
def test_all_six_are_taken_by_sagemaker_and_a_second_time_nothing_is_changed(run, cloud, tmp_path):
    real = ("registry=sagemaker", "tracking=none", "cloud=sagemaker")
    for name in sorted(OWNERS):
        assert "created" in run(name, flow=real)
    cloud.forget()
    for name in sorted(OWNERS):
        assert "unchanged" in run(name, flow=real)

    assert cloud.mutating() == {}
    assert cloud.calls("CreatePipeline") == cloud.calls("UpdatePipeline") == []


def test_the_files_are_published_where_the_owner_wants_them(run, cloud):
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


def test_a_change_of_the_lineage_updates_the_definition(run, cloud):
    run("teacher_pipeline")
    assert "updated" in run("teacher_pipeline", "lineage.models.teacher.params.lr=0.2")


@pytest.mark.usefixtures("containers")
@pytest.mark.slow
def test_an_execution_makes_measures_and_judges_and_the_next_one_takes_it_from_the_cache(run, cloud):
    run("teacher_pipeline", "start")
    found, steps = execution(cloud)
    assert found["PipelineExecutionStatus"] == "Succeeded", found
    assert {name: step["StepStatus"] for name, step in steps.items()} == dict.fromkeys(
        ("train-teacher", "benchmark-teacher", "gates-teacher"), "Succeeded"
    )
    flow = resolved(*TOY, "store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}")
    key = f"p/tasks/train/teacher/{flow.step('train:teacher').digest}/record.json"
    record = json.loads(cloud.client().get_object(Bucket=cloud.name, Key=key)["Body"].read())
    assert (record["executor"], record["metrics"]) == ("sagemaker", {"score": 0.1})
    assert record["environment"]["training_job"].startswith("pipelines-")

    run("teacher_pipeline", "start")
    found, steps = execution(cloud)
    assert found["PipelineExecutionStatus"] == "Succeeded"
    assert all(steps[name].get("CacheHitResult") for name in ("train-teacher", "benchmark-teacher"))
    assert len(cloud.calls("CreateTrainingJob")) <= 1  # those of pipelines are SageMaker's own


@pytest.mark.usefixtures("containers")
@pytest.mark.slow
def test_a_model_that_misses_its_gates_ends_the_execution_with_the_reason(run, cloud):
    run("teacher_pipeline", "start", "lineage.post_stages.benchmark.params.value=3.0")
    found, steps = execution(cloud)

    assert found["PipelineExecutionStatus"] == "Failed"
    assert steps["gates-teacher"]["Metadata"]["Condition"]["Outcome"] == "False"
    missed = next(step for name, step in steps.items() if name.endswith("missed"))
    assert "teacher does not pass its gates (latency_p50_ms)" in json.dumps(missed, default=str)


def test_a_pipeline_is_not_started_before_what_it_begins_with_is_there(run, cloud):
    with pytest.raises(PokeflowError, match=r"train:teacher: not in s3://.* yet"):
        run("student_pipeline", "start")

    assert cloud.calls("CreatePipeline") == []


def test_a_budget_is_asked_before_anything_is_started(run, cloud):
    with pytest.raises(ConfigError, match=r"may cost \$11\.04, above the budget of \$5\.00"):
        run("teacher_pipeline", "start", "project.budget_usd=5.0")

    assert set(cloud.mutating()) <= {"CreateRole", "PutObject", "DeleteObject"}  # the written files, and no more
    assert cloud.calls("CreatePipeline") == []


def test_a_wrong_name_is_told_with_the_nearest_one(run):
    with pytest.raises(ConfigError, match=r"no pipeline 'techer_pipeline'. Did you mean 'teacher_pipeline'"):
        run("techer_pipeline")


def test_a_wrong_name_or_no_bucket_publishes_nothing(cloud, tmp_path):
    for words, says in (
        (("techer_pipeline", "store=s3", f"store.remote={cloud.uri}/p"), "Did you mean 'teacher_pipeline'"),
        (("teacher_pipeline",), "Set store=s3"),
    ):
        with pytest.raises(ConfigError, match=says):
            call("pipeline", [*TOY, f"store.root={tmp_path}", *words])

    below = [*cloud.client().list_objects_v2(Bucket=cloud.name).get("Contents", []), *tmp_path.rglob("*")]
    assert not [place for place in map(str, below) if "project" in place.replace("pipeline/project", "")]


def test_who_has_no_bucket_any_more_is_told_before_anything_is_written(run, cloud, tmp_path):
    cloud.vanish()
    with pytest.raises(PokeflowError, match="the bucket does not exist"):
        run("teacher_pipeline")
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("damage", [b"", b"{}", b"["])
def test_a_task_file_that_was_damaged_is_sent_anew(run, cloud, damage):
    run("teacher_pipeline")
    client = cloud.client()
    listed = client.list_objects_v2(Bucket=cloud.name, Prefix="p/jobs/")["Contents"]
    keys = [row["Key"] for row in listed if row["Key"].endswith("/task.json")]
    sound = {key: client.get_object(Bucket=cloud.name, Key=key)["Body"].read() for key in keys}
    client.put_object(Bucket=cloud.name, Key=keys[0], Body=damage)

    assert "unchanged" in run("teacher_pipeline")
    assert {key: client.get_object(Bucket=cloud.name, Key=key)["Body"].read() for key in keys} == sound


def test_some_models_or_stages_are_no_pipelines(cloud, tmp_path):
    for word in ("stages=[train]", "models=[teacher]"):
        with pytest.raises(ConfigError, match="from the whole lineage"):
            call("pipeline", [*TOY, f"store.root={tmp_path}", word])


def test_words_that_an_action_does_not_take_are_told(owners, capsys):
    for words in (["start", "now"], ["upsert", "Source=s3://b/"], ["Source=s3://b/"]):
        with pytest.raises(SystemExit) as left:
            control.main(owners.pipelines["teacher_pipeline"], words)
        assert left.value.code == 2
        assert "unexpected argument" in capsys.readouterr().err


def test_parameters_are_asked_for_and_misspelt_ones_told(cloud):
    pipeline = written("store=s3", f"store.remote={cloud.uri}/p").pipelines["batch_inference_pipeline"]

    with pytest.raises(ConfigError, match="needs Destination: start Destination=s3://bucket/prefix/"):
        control.parameters(pipeline, {"Source": "s3://b/p/"})
    with pytest.raises(SystemExit):
        control.main(pipeline, ["start", "Source=s3://b/p/"])
    assert "CreatePipeline" not in cloud.mutating()
    with pytest.raises(ConfigError, match=r"no parameter 'Sorce'. Did you mean 'Source'"):
        control.parameters(pipeline, {"Sorce": "s3://b/p/", "Destination": "s3://b/q/"})


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


def test_a_written_file_speaks_to_sagemaker_by_itself(run, cloud, capsys, monkeypatch):
    run("teacher_pipeline")
    role = aws.ask(aws.client("iam", REGION).get_role, "role", RoleName="pipeline")["Role"]["Arn"]
    place = ("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}")
    roles = (f"cloud.pipeline.params.role={role}", f"{JOB_ROLE}={cloud.role}")
    flow = resolved(*TOY, *place, *roles, "lineage.gates={latency_p50_ms: {max: 1}}")
    pipeline = lineage.write(flow.step("pipeline:project").params, flow.shared).pipelines["teacher_pipeline"]
    control.main(rebuilt(text.file("teacher_pipeline", pipeline)), ["upsert"])
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


def test_every_task_file_is_sent_once_and_named_by_its_content(owners):
    keys = [run.task for pipeline in owners.pipelines.values() for run in pipeline.runs()]

    assert {file.key for file in owners.files} >= set(keys)
    assert all(isinstance(run, Run) for pipeline in owners.pipelines.values() for run in pipeline.runs())


def test_the_inference_pipelines_make_a_model_and_put_it_to_work(cloud):
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
        found = control.prepare(pipeline, objects)
        control.upsert(dataclasses.replace(pipeline, role=cloud.role), objects, found)
        control.start(pipeline, objects, found, {key: f"{cloud.uri}/{value}/" for key, value in values.items()})
        done, steps = execution(cloud, pipeline.name)

        assert done["PipelineExecutionStatus"] == "Succeeded", (done, steps)
    name = model.base("pokemon-card-recognition", "efficientnet-hailo-optimized")
    endpoint = cloud.aws("sagemaker").describe_endpoint(EndpointName=name)
    assert endpoint["EndpointStatus"] == "InService"


def test_the_endpoint_of_a_pipeline_is_the_one_that_deploy_updates():
    made = "{version: v1, type: student, stage: train, backend: torch, params: {network: {name: resnet18}}}"
    place = ("store=s3", "store.remote=s3://b-u/p", f"lineage.models.student_1={made}")
    pipelines = written(*place, "cloud.pipeline.params.serve=student_1").pipelines
    (endpoint,) = (step for step in pipelines["realtime_endpoint_pipeline"].steps if isinstance(step, Endpoint))

    assert endpoint.endpoint == model.base("pokemon-card-recognition", "student_1")


def test_a_batch_of_large_pictures_asks_for_no_more_at_once_than_sagemaker_takes():
    place = ("store=s3", "store.remote=s3://b-u/p")
    batch = written(*place, "cloud.bundle.params.max_bytes=40000000").pipelines["batch_inference_pipeline"]
    job = next(step for step in batch.steps if isinstance(step, Transform))

    assert (job.payload_mb, job.at_once) == (40, 2)


def test_a_package_takes_what_its_bundle_takes():
    assert (*inference.IMAGES, inference.JSON) == lineage.CONTENT_TYPES


@pytest.fixture
def endpoint(cloud):
    """The pipeline of an endpoint, brought to the cloud, where endpoints take their time; what starts it."""
    place = ("store=s3", f"store.remote={cloud.uri}/p", f"store.region={REGION}", f"{JOB_ROLE}={cloud.role}")
    pipeline = dataclasses.replace(written(*place).pipelines["realtime_endpoint_pipeline"], role=cloud.role)
    cloud.trouble(becoming=2)
    for file in ("record.json", "model.tar.gz"):
        cloud.client().put_object(Bucket=cloud.name, Key=f"p/{pipeline.needed[0][1]}/{file}", Body=b"{}")
    objects = control.open_objects(pipeline)
    found = control.prepare(pipeline, objects)
    control.upsert(pipeline, objects, found)

    def changed():
        steps = tuple(dataclasses.replace(s, instances=2) if isinstance(s, Endpoint) else s for s in pipeline.steps)
        control.upsert(dataclasses.replace(pipeline, steps=steps), objects, found)

    return SimpleNamespace(
        name=pipeline.name, start=lambda: control.start(pipeline, objects, found, {}), changed=changed
    )


def test_four_who_start_the_same_at_once_start_it_once(endpoint, cloud):
    with ThreadPoolExecutor(4) as pool:
        started = {future.result() for future in [pool.submit(endpoint.start) for _ in range(4)]}

    assert len(started) == 1
    cloud.settle()
    assert execution(cloud, endpoint.name)[0]["PipelineExecutionArn"] == started.pop()


def test_an_execution_of_a_definition_that_was_changed_since_is_another_one(endpoint):
    first = endpoint.start()
    assert endpoint.start() == first
    endpoint.changed()
    assert endpoint.start() != first


def test_an_execution_that_is_being_stopped_is_another_one(endpoint, cloud):
    first = endpoint.start()
    cloud.aws("sagemaker").stop_pipeline_execution(PipelineExecutionArn=first)
    assert endpoint.start() != first
