"""Run tasks as jobs on machines that share only the bucket, and commit their records there."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow import Input, PokeflowError, RemoteStore, Task, plugins
from pokeflow.engine import job, worker
from pokeflow.errors import Failure
from pokeflow.objects import _uri as uri
from pokeflow.objects._base import ObjectStore
from pokeflow.store._local import Store
from pokeflow.types import Backend, Record
from pokeflow_testkit.support import TOY_MODELS, build_flow, environment


@pytest.fixture
def bucket(s3) -> ObjectStore:
    return uri.open_uri(f"{s3.uri}/p", endpoint=s3.endpoint, region=s3.region, encryption="AES256")


@pytest.fixture
def shared(s3) -> RemoteStore:
    return RemoteStore(f"{s3.uri}/p", s3.endpoint, s3.region, "AES256")


def task_of(shared: RemoteStore, name: str, *inputs: Record, **params: object) -> tuple[Task, Backend]:
    """Return a task of the toy flow as an executor receives it, and its backend."""
    step = build_flow(Path("unused"), TOY_MODELS).step(name)
    task_inputs = tuple(Input(record, Path("elsewhere")) for record in inputs)
    task = step.task(task_inputs, Path("work"), Path("output"), remote_store=shared)
    return replace(task, params=replace(step.params, **params)), step.backend


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    """Log at the level of a job."""
    caplog.set_level(logging.INFO)


def make_record(shared: RemoteStore, root: Path, name: str, *inputs: Record, **more: object) -> Record:
    task, backend = task_of(shared, name, *inputs)
    record = job.run_task(task, backend, executor="elsewhere", root=root, **more)
    assert record is not None
    return record


@pytest.mark.slow
def test_job_commits_its_result_and_inputs_to_the_bucket(shared, bucket, tmp_path):
    teacher = make_record(shared, tmp_path / "a", "train:teacher", environment={"training_job": "x", "host": "algo-1"})
    student = make_record(shared, tmp_path / "b", "distill:student", teacher)
    assert student.inputs == {"train:teacher": teacher.content}
    assert (teacher.executor, teacher.environment["training_job"], teacher.environment["host"]) == (
        "elsewhere", "x", "algo-1",
    )  # fmt: skip
    assert teacher.cost_usd is None
    assert teacher.reasons["cost_usd"] == job.UNBILLED
    assert Store(tmp_path / "c", bucket).load(student) == student
    assert b"begins at step 0" in bucket.read(f"{Store.key(student)}/log.txt")[0]
    assert list(bucket.list("leases/")) == []


def test_second_job_reuses_the_result_unless_it_replaces_it(shared, tmp_path):
    first = make_record(shared, tmp_path / "a", "train:teacher")
    assert make_record(shared, tmp_path / "b", "train:teacher") == first
    task, backend = task_of(shared, "train:teacher")
    again = job.run_task(replace(task, replaces=first.started), backend, executor="elsewhere", root=tmp_path / "c")
    assert again is not None
    assert again.started > first.started


def test_job_resumes_checkpoints_and_uploads_telemetry(shared, bucket, tmp_path):
    work, telemetry = tmp_path / "checkpoints", tmp_path / "telemetry"
    work.mkdir()
    telemetry.mkdir()
    (work / "steps.txt").write_text("3")
    (telemetry / "run.yaml").write_text("command: pokeflow")
    record = make_record(shared, tmp_path / "a", "train:teacher", work=work, telemetry=telemetry)
    assert b"begins at step 3" in bucket.read(f"{Store.key(record)}/log.txt")[0]
    assert bucket.read(f"{Store.key(record)}/telemetry/run.yaml")[0] == b"command: pokeflow"
    assert record.files == tuple(file for file in record.files if file.path == "model.txt")


def test_input_missing_from_the_bucket_is_reported(shared, bucket, tmp_path):
    teacher = make_record(shared, tmp_path / "a", "train:teacher")
    bucket.delete(f"{Store.key(teacher)}/model.txt")
    with pytest.raises(PokeflowError, match=r"model\.txt"):
        make_record(shared, tmp_path / "b", "distill:student", teacher)
    assert list(bucket.list("leases/")) == []


def test_a_task_without_a_bucket_is_refused(tmp_path, shared):
    task, backend = task_of(shared, "train:teacher")
    with pytest.raises(PokeflowError, match="names no bucket"):
        job.run_task(replace(task, remote_store=None), backend, executor="elsewhere", root=tmp_path)


def test_job_refuses_changed_input_files(shared, tmp_path):
    task, backend = task_of(shared, "train:teacher")
    with pytest.raises(PokeflowError, match="Run this task with executor: local"):
        job.run_task(task, replace(backend, fingerprint=lambda _: "other"), executor="elsewhere", root=tmp_path)


def test_process_of_higher_rank_commits_nothing(shared, bucket, tmp_path, monkeypatch):
    task, backend = task_of(shared, "train:teacher", note=str(tmp_path / "note"))
    monkeypatch.setenv("RANK", "1")
    assert job.run_task(task, backend, executor="elsewhere", root=tmp_path / "a") is None
    assert (tmp_path / "note").read_text().startswith("train:teacher")
    assert list(bucket.list("tasks/")) == []
    # With a record, the first process exits at once, and the others must not wait for it.
    monkeypatch.delenv("RANK")
    make_record(shared, tmp_path / "b", "train:teacher")
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "note").unlink()
    assert job.run_task(task, backend, executor="elsewhere", root=tmp_path / "c") is None
    assert not (tmp_path / "note").exists()


def test_process_of_higher_rank_exits_once_a_record_exists(shared, tmp_path):
    task, _ = task_of(shared, "train:teacher", seconds=600.0)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    program = (
        "import sys; from pokeflow.engine import job; job.POLL_SECONDS = job.GRACE_SECONDS = 0.1; "
        "sys.exit(job.main(['task.json', '--executor', 'elsewhere', '--root', 'waiting']))"
    )
    env = environment(RANK="1")
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the task has started
        make_record(shared, tmp_path / "a", "train:teacher")
        assert process.wait(60) == 0


def test_task_file_omits_local_paths(shared, tmp_path):
    record = make_record(shared, tmp_path / "a", "train:teacher")
    task, backend = task_of(shared, "distill:student", record)
    fields = json.loads(job.dump(task))
    assert (fields["work"], fields["output"], fields["inputs"][0]["folder"]) == ("-", "-", "-")
    loaded, same = worker.load(job.dump(task), plugins.registry(plugins.manager()))
    assert (loaded.inputs[0].record, loaded.params, same) == (record, task.params, backend)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"stage": "train", "backend": "nobody", "inputs": []}', "no backend 'nobody' for stage 'train'"),
        ('{"stage": "train", "inputs": []}', "another version of pokeflow wrote the task's file (KeyError('backend'))"),
        ('{"inputs": [{"key": "records/a"}], "shared": {}}', "(KeyError('remote_store')). Submit the task again."),
    ],
)
def test_failure_is_written_to_the_failure_file(tmp_path, text, reason):
    (tmp_path / "task.json").write_text(text)
    failure = tmp_path / "output" / "failure"
    args = [str(tmp_path / "task.json"), "--executor", "elsewhere", "--root", str(tmp_path), "--failure", str(failure)]
    command = [sys.executable, "-m", "pokeflow.engine.job", *args]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    content = json.loads(failure.read_text())
    assert reason in content["error"]
    assert content["unavailable"] is False
    failure.write_text("another process failed first")
    subprocess.run(command, env={**environment(), "RANK": "1"}, capture_output=True, check=False)
    assert failure.read_text() == "another process failed first"


def test_unavailable_tool_is_not_reported_as_a_failure(shared, tmp_path):
    task, _ = task_of(shared, "train:teacher", absent=True)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    failure = tmp_path / "failure"
    args = ["task.json", "--executor", "elsewhere", "--root", "a", "--failure", str(failure)]
    command = [sys.executable, "-m", "pokeflow.engine.job", *args]
    assert subprocess.run(command, cwd=tmp_path, env=environment(), check=False).returncode == 1
    assert Failure.loads(failure.read_text()) == Failure("no compiler here. Install the toy compiler 2.0.", True)


def test_terminated_job_releases_its_lease(shared, bucket, tmp_path):
    task, _ = task_of(shared, "train:teacher", seconds=600.0)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    options = ["--executor", "x", "--root", "a", "--work", "work"]
    command = [sys.executable, "-m", "pokeflow.engine.job", "task.json", *options]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("begins at step 0" in line for line in process.stdout)
        assert len(list(bucket.list("leases/"))) == 1
        process.terminate()
        assert process.wait(60) == 143
    assert list(bucket.list("leases/")) == []
    assert list(bucket.list("tasks/")) == []
