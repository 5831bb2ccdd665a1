"""A task made on a machine that shares only the bucket: committed there, once, whatever goes wrong."""

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
    """A task of the toy flow as an executor has it, and its backend."""
    step = build_flow(Path("unused"), TOY_MODELS).step(name)
    given = tuple(Input(record, Path("elsewhere")) for record in inputs)
    task = step.task(given, Path("work"), Path("output"), remote_store=shared)
    return replace(task, params=replace(step.params, **params)), step.backend


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    """Logs have what they have in a job."""
    caplog.set_level(logging.INFO)


def made(shared: RemoteStore, root: Path, name: str, *inputs: Record, **more: object) -> Record:
    task, backend = task_of(shared, name, *inputs)
    record = job.run_task(task, backend, executor="elsewhere", root=root, **more)
    assert record is not None
    return record


def test_what_a_job_makes_lies_in_the_bucket_with_its_inputs_told(shared, bucket, tmp_path):
    teacher = made(shared, tmp_path / "a", "train:teacher", environment={"training_job": "x", "host": "algo-1"})
    student = made(shared, tmp_path / "b", "distill:student", teacher)
    assert student.inputs == {"train:teacher": teacher.content}
    assert (teacher.executor, teacher.environment["training_job"], teacher.environment["host"]) == (
        "elsewhere", "x", "algo-1",
    )  # fmt: skip
    assert teacher.cost_usd is None
    assert teacher.reasons["cost_usd"] == job.UNBILLED
    assert Store(tmp_path / "c", bucket).load(student) == student
    assert b"begins at step 0" in bucket.read(f"{Store.key(student)}/log.txt")[0]
    assert list(bucket.list("claims/")) == []


def test_a_second_job_finds_it_made(shared, tmp_path):
    first = made(shared, tmp_path / "a", "train:teacher")
    assert made(shared, tmp_path / "b", "train:teacher") == first
    task, backend = task_of(shared, "train:teacher")
    again = job.run_task(replace(task, replaces=first.started), backend, executor="elsewhere", root=tmp_path / "c")
    assert again is not None
    assert again.started > first.started


def test_checkpoints_and_telemetry_go_where_they_outlive_the_machine(shared, bucket, tmp_path):
    work, told = tmp_path / "checkpoints", tmp_path / "telemetry"
    work.mkdir()
    told.mkdir()
    (work / "steps.txt").write_text("3")
    (told / "run.yaml").write_text("command: pokeflow")
    record = made(shared, tmp_path / "a", "train:teacher", work=work, telemetry=told)
    assert b"begins at step 3" in bucket.read(f"{Store.key(record)}/log.txt")[0]
    assert bucket.read(f"{Store.key(record)}/telemetry/run.yaml")[0] == b"command: pokeflow"
    assert record.files == tuple(file for file in record.files if file.path == "model.txt")


def test_an_input_that_the_bucket_lacks_is_told(shared, bucket, tmp_path):
    teacher = made(shared, tmp_path / "a", "train:teacher")
    bucket.delete(f"{Store.key(teacher)}/model.txt")
    with pytest.raises(PokeflowError, match=r"model\.txt"):
        made(shared, tmp_path / "b", "distill:student", teacher)
    assert list(bucket.list("claims/")) == []


def test_a_task_without_a_bucket_is_refused(tmp_path, shared):
    task, backend = task_of(shared, "train:teacher")
    with pytest.raises(PokeflowError, match="names no bucket"):
        job.run_task(replace(task, remote_store=None), backend, executor="elsewhere", root=tmp_path)


def test_what_parameters_point_to_must_be_here_as_it_was_there(shared, tmp_path):
    task, backend = task_of(shared, "train:teacher")
    with pytest.raises(PokeflowError, match="Run this task with executor: local"):
        job.run_task(task, replace(backend, fingerprint=lambda _: "other"), executor="elsewhere", root=tmp_path)


def test_a_further_process_takes_part_and_commits_nothing(shared, bucket, tmp_path, monkeypatch):
    task, backend = task_of(shared, "train:teacher", note=str(tmp_path / "note"))
    monkeypatch.setenv("RANK", "1")
    assert job.run_task(task, backend, executor="elsewhere", root=tmp_path / "a") is None
    assert (tmp_path / "note").read_text().startswith("train:teacher")
    assert list(bucket.list("tasks/")) == []
    # Made already: the first process leaves at once, and nobody may wait for it.
    monkeypatch.delenv("RANK")
    made(shared, tmp_path / "b", "train:teacher")
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "note").unlink()
    assert job.run_task(task, backend, executor="elsewhere", root=tmp_path / "c") is None
    assert not (tmp_path / "note").exists()


def test_a_further_process_that_waits_in_vain_leaves_once_it_is_made(shared, tmp_path):
    task, _ = task_of(shared, "train:teacher", seconds=600.0)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    program = (
        "import sys; from pokeflow.engine import job; job.POLL_SECONDS = job.GRACE_SECONDS = 0.1; "
        "sys.exit(job.main(['task.json', '--executor', 'elsewhere', '--root', 'waiting']))"
    )
    env = environment(RANK="1")
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is at it
        made(shared, tmp_path / "a", "train:teacher")
        assert process.wait(60) == 0


def test_the_file_of_a_task_tells_nothing_of_the_machine_that_wrote_it(shared, tmp_path):
    record = made(shared, tmp_path / "a", "train:teacher")
    task, backend = task_of(shared, "distill:student", record)
    told = json.loads(job.dump(task))
    assert (told["work"], told["output"], told["inputs"][0]["folder"]) == ("-", "-", "-")
    loaded, same = worker.load(job.dump(task), plugins.registry(plugins.manager()))
    assert (loaded.inputs[0].record, loaded.params, same) == (record, task.params, backend)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"stage": "train", "backend": "nobody", "inputs": []}', "no backend 'nobody' for stage 'train'"),
    ],
)
def test_a_failure_is_left_for_whoever_waits(tmp_path, text, reason):
    (tmp_path / "task.json").write_text(text)
    failure = tmp_path / "output" / "failure"
    args = [str(tmp_path / "task.json"), "--executor", "elsewhere", "--root", str(tmp_path), "--failure", str(failure)]
    command = [sys.executable, "-m", "pokeflow.engine.job", *args]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    told = json.loads(failure.read_text())
    assert reason in told["error"]
    assert told["unavailable"] is False
    failure.write_text("another process failed first")
    subprocess.run(command, env={**environment(), "RANK": "1"}, capture_output=True, check=False)
    assert failure.read_text() == "another process failed first"


def test_a_machine_that_lacks_what_a_task_needs_is_told_apart_from_a_failure(shared, tmp_path):
    task, _ = task_of(shared, "train:teacher", absent=True)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    failure = tmp_path / "failure"
    args = ["task.json", "--executor", "elsewhere", "--root", "a", "--failure", str(failure)]
    command = [sys.executable, "-m", "pokeflow.engine.job", *args]
    assert subprocess.run(command, cwd=tmp_path, env=environment(), check=False).returncode == 1
    assert Failure.loads(failure.read_text()) == Failure("no compiler here. Install the toy compiler 2.0.", True)


def test_who_is_asked_to_stop_lets_go_of_the_claim(shared, bucket, tmp_path):
    task, _ = task_of(shared, "train:teacher", seconds=600.0)
    (tmp_path / "task.json").write_bytes(job.dump(task))
    options = ["--executor", "x", "--root", "a", "--work", "work"]
    command = [sys.executable, "-m", "pokeflow.engine.job", "task.json", *options]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("begins at step 0" in line for line in process.stdout)
        assert len(list(bucket.list("claims/"))) == 1
        process.terminate()
        assert process.wait(60) == 143
    assert list(bucket.list("claims/")) == []
    assert list(bucket.list("tasks/")) == []
