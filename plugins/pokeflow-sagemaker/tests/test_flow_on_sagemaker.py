"""Flows whose tasks are jobs: the same results as local runs, no duplicate job, nothing lost with its launcher."""

import json
import logging
import os
import pty
import signal
import threading

import pytest

from pokeflow import ConfigError
from pokeflow.engine import _runner as runner
from pokeflow.errors import TaskError
from pokeflow.store._local import Store
from pokeflow_testkit.support import run_flow, toy_flow

from .jobs_flow import SPOT, Launcher, has_checkpoint, same, seconds, start_steps, until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("containers")]
TEACHER = ("models=[teacher]", "stages=[train]")
TINY = ("models=[tiny]", "stages=[compile]")


@pytest.fixture
def machine(cloud, tmp_path):
    return Launcher(cloud, tmp_path / "a")


def other(machine, name="b", **more):
    return Launcher(machine.cloud, machine.folder.parent / name, **more)


def test_jobs_produce_the_same_results_as_local_runs(machine, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    chosen = ("models=[teacher]", "stages=[train,benchmark]")
    report = machine.run(*chosen)
    assert report.ran == ("train:teacher", "benchmark:teacher")
    local = run_flow(toy_flow(tmp_path / "local", "cloud=none", *chosen))
    assert all(same(record, local[task]) for task, record in report.records.items())
    record = report.records["train:teacher"]
    job = machine.training(f"pokeflow-teacher-{record.digest}")
    about = record.environment
    assert (about["training_job"], about["training_job_arn"]) == (job["TrainingJobName"], job["TrainingJobArn"])
    assert (about["host"], about["instance_type"], about["instance_count"]) == ("algo-1", "ml.m5.xlarge", 1)
    assert about["billable_seconds"] == job["BillableTimeInSeconds"]
    assert record.cost_usd == pytest.approx(0.23 / 3600 * job["BillableTimeInSeconds"], abs=1e-6)
    assert record.executor == "sagemaker"
    measured = report.records["benchmark:teacher"].environment
    assert ":processing-job/" in measured["training_job_arn"]
    assert measured["host"] == "algo-1"
    assert "  begins at step 0" in [entry.getMessage() for entry in caplog.records]
    # The record with its bill and the command's telemetry are shared through the bucket.
    assert other(machine).store().load(record) == record
    assert b"command: pokeflow" in machine.objects.read(f"{Store.key(record)}/telemetry/run.yaml")[0]
    assert machine.here() == set()

    machine.cloud.forget()
    assert machine.run(*chosen).ran == ()
    assert other(machine).run(*chosen).records == report.records
    assert machine.cloud.mutating() == {}
    assert machine.cloud.calls() == []


def test_jobs_and_local_tasks_mix_in_one_flow(machine, caplog):
    mixed = Launcher(machine.cloud, machine.folder, executor="local")
    executor = (
        f"{{name: sagemaker, params: {{instance_type: ml.c5.xlarge, account: {{role: '{machine.cloud.role}'}}}}}}"
    )
    report = mixed.run("models=[student]", "stages=[benchmark]", f"+lineage.models.student.executor={executor}")
    executors = {task: record.executor for task, record in report.records.items()}
    assert executors == {"train:teacher": "local", "distill:student": "sagemaker", "benchmark:student": "local"}
    student = report.records["distill:student"]
    assert student.environment["instance_type"] == "ml.c5.xlarge"
    assert (Store(mixed.folder).folder(student) / "model.txt").read_text().startswith("distill")
    assert mixed.here() == set(executors)


def test_failed_job_is_reported_and_other_tasks_continue(machine):
    gone = machine.folder.parent / "gone"
    note = f"lineage.models.teacher.params.note={gone / 'note'}"
    lonely = "+lineage.models.lonely={version: v1.0, type: teacher, stage: train, backend: toy, params: {lr: 3}}"
    run = (note, lonely, "models=[student,lonely]", "stages=[train,distill]")
    with pytest.raises(TaskError) as failed:
        machine.run(*run)
    assert failed.value.exit_code == 1
    lines = str(failed.value).splitlines()
    (digest,) = {step.digest for step in machine.flow(*run).steps if step.name == "train:teacher"}
    name = f"pokeflow-teacher-{digest}"
    assert lines[0].startswith(f"train:teacher failed: training job {name} failed: FileNotFoundError: [Errno 2]")
    assert "exit code" not in lines[0]
    assert lines[0].endswith(f"#/jobs/{name}")
    assert lines[2] == "Not run: distill:student (a task that they need did not finish)."
    assert failed.value.ran == ("train:lonely",)
    gone.mkdir()
    assert machine.run(*run).ran == ("train:teacher", "distill:student")
    assert f"{name}-2" in machine.created()


@pytest.mark.long
def test_tracking_receives_job_results_with_all_files(machine):
    tracked = machine.folder / "tracked.txt"
    machine.run(*TEACHER, "tracking=toy")
    assert tracked.read_text() == "train:teacher\n"
    assert machine.here() == {"train:teacher"}
    # Forced, and the launcher lost: the old result is not reported again, the next run reports the new one.
    old = machine.store().load(machine.flow(*TEACHER).steps[0])
    with machine.started(*TEACHER, "tracking=toy", "force=[teacher]") as process:
        until(lambda: len(machine.created()) == 2)
        process.send_signal(signal.SIGKILL)
    until(lambda: machine.training(machine.created()[1])["TrainingJobStatus"] == "Completed")
    machine.run(*TEACHER, "tracking=toy", "force=[teacher]")
    assert tracked.read_text() == "train:teacher\n" * 2
    new = machine.store().load(machine.flow(*TEACHER).steps[0])
    assert new.started > old.started
    assert len(list(Store(machine.folder).folder(new).glob("record-*.json"))) == 1


@pytest.mark.slow
def test_interrupted_spot_job_resumes_from_its_checkpoint(machine):
    machine.cloud.trouble(sync=0.1)
    with machine.started(*TEACHER, *SPOT, seconds("teacher", 3)) as process:
        name = machine.first()
        until(lambda: has_checkpoint(machine))
        machine.cloud.interrupt(name)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    steps = start_steps(machine.said(name))
    assert len(steps) == 2
    assert 0 < max(steps) < 30
    assert "Interrupted" in err
    (record,) = machine.run(*TEACHER, *SPOT, seconds("teacher", 3)).records.values()
    about = record.environment
    assert about["billable_seconds"] < about["job_seconds"]
    assert about["spot_saving"] == pytest.approx(1 - about["billable_seconds"] / about["job_seconds"])
    assert record.cost_usd == pytest.approx(0.23 / 3600 * about["billable_seconds"], abs=1e-6)
    assert list(machine.objects.list("work/")) == []


HELD = {"capacity": ("ml.m5.xlarge",)}
"""No spot machines are available until this trouble is removed."""


@pytest.mark.slow
def test_killed_launcher_loses_nothing(machine):
    machine.cloud.trouble(**HELD)
    with machine.started(*TEACHER, *SPOT) as process:
        (name,) = until(machine.created)
        process.send_signal(signal.SIGKILL)
    with machine.started(*TEACHER, *SPOT) as process:
        assert any(f"attached to training job {name}" in line for line in process.stderr)
        machine.cloud.trouble()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert machine.created() == [name]

    # Lost for good: the next launcher reads the record and settles its bill.
    late = (*TEACHER, "lineage.models.teacher.params.lr=0.3")
    with machine.started(*late) as process:
        until(lambda: len(machine.created()) == 2)
        process.send_signal(signal.SIGKILL)
    until(lambda: machine.training(machine.created()[1])["TrainingJobStatus"] == "Completed")
    report = other(machine).run(*late)
    assert report.ran == ()
    assert report.records["train:teacher"].cost_usd > 0
    assert len(machine.created()) == 2


@pytest.mark.slow
def test_concurrent_launchers_start_one_job(machine):
    machine.cloud.trouble(**HELD)
    logs = [machine.folder.parent / name for name in ("one.txt", "two.txt")]
    with logs[0].open("w") as a, logs[1].open("w") as b:
        launchers = machine, other(machine)
        with (
            launchers[0].started(*TEACHER, *SPOT, stderr=a) as one,
            launchers[1].started(*TEACHER, *SPOT, stderr=b) as two,
        ):
            until(lambda: any("attached to training job" in file.read_text() for file in logs))
            machine.cloud.trouble()
            assert (one.wait(120), two.wait(120)) == (0, 0), [file.read_text() for file in logs]
    assert len(machine.created()) == 1


@pytest.mark.long
def test_forced_or_changed_inputs_start_a_new_attempt(machine):
    run = ("models=[student]", "stages=[distill]", seconds("teacher", 0.2))
    first = machine.run(*run).records
    since = runner.now()
    forced = machine.run(*run, "force=[teacher]", since=since)
    assert forced.ran == ("train:teacher",)
    assert forced.records["train:teacher"].started > since
    names = machine.created()
    assert names[2] == f"{names[0]}-2"
    assert start_steps(machine.said(names[2])) == [0]
    assert machine.run(*run, "force=[teacher]", since=since).ran == ()
    assert forced.records["distill:student"] == first["distill:student"]
    # Another content of the same digest: its descendant is run again, as a new attempt.
    teacher = forced.records["train:teacher"]
    changed = json.loads(machine.objects.read(f"{Store.key(teacher)}/record.json")[0])
    changed["content"] = "0" * len(changed["content"])
    machine.objects.write(f"{Store.key(teacher)}/record.json", json.dumps(changed).encode(), match=None)
    again = machine.run(*run)
    assert again.ran == ("distill:student",)
    assert machine.created()[3] == f"{names[1]}-2"
    assert again.records["distill:student"].inputs["train:teacher"] == changed["content"]


def interrupted(machine, answer, *overrides):
    """Press Ctrl-C at a terminal and answer; return the exit code and the output."""
    master, slave = pty.openpty()
    run = (*TEACHER, seconds("teacher", 30), *overrides)
    chunks: list[str] = []
    try:
        with machine.started(*run, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
            reader = threading.Thread(target=_read, args=(master, chunks), daemon=True)
            reader.start()
            machine.first()
            process.send_signal(signal.SIGINT)
            until(lambda: "[y/N]" in "".join(chunks))
            os.write(master, answer)
            process.wait(60)
            until(lambda: "interrupted" in "".join(chunks))
    finally:
        os.close(slave)
        os.close(master)
    return process.returncode, "".join(chunks)


def _read(master, chunks):
    while True:
        try:
            chunks.append(os.read(master, 4096).decode())
        except OSError:
            return


@pytest.mark.long
@pytest.mark.parametrize("answer", [b"n\n", b"y\n"])
def test_ctrl_c_asks_whether_to_stop_the_job(machine, answer):
    code, output = interrupted(machine, answer)
    assert code == 130
    (name,) = machine.created()
    job = machine.training(name)
    if answer == b"n\n":
        assert job["TrainingJobStatus"] == "InProgress"
        assert f"{name} continues: run the same command to attach to it again" in output
    else:
        assert until(lambda: machine.training(name)["TrainingJobStatus"] == "Stopped")
        assert "stop requested; its last checkpoint is kept" in output


@pytest.mark.long
@pytest.mark.parametrize("choice", ["ask", "leave", "stop"])
def test_interrupt_without_a_terminal_follows_the_configuration(machine, choice):
    run = (*TEACHER, seconds("teacher", 3), f"executor.params.client.interrupted={choice}")
    machine.cloud.trouble(sync=0.1)
    with machine.started(*run) as process:
        name = machine.first()
        until(lambda: has_checkpoint(machine))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    calls = [call["operation"] for call in machine.cloud.calls() if call["operation"].startswith("Stop")]
    assert calls == (["StopTrainingJob"] if choice == "stop" else [])
    if choice != "stop":
        return
    # The next run waits for its end and resumes from the checkpoint, as a new attempt.
    until(lambda: machine.training(name)["TrainingJobStatus"] == "Stopped")
    assert machine.run(*run).ran == ("train:teacher",)
    assert machine.created() == [name, f"{name}-2"]
    assert 0 < start_steps(machine.said(f"{name}-2"))[0] < 30
    (record,) = machine.run(*run).records.values()
    both = [machine.training(attempt)["BillableTimeInSeconds"] for attempt in machine.created()]
    assert record.environment["attempts"] == 2
    assert record.environment["billable_seconds"] == sum(both)


@pytest.mark.long
def test_sweep_keeps_the_limit_of_concurrent_jobs(machine):
    trials = "lineage.models.student.params.lr=0.1,0.2,0.3,0.4,0.5"
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=5", "executor.params.client.at_once=2")
    run = ("-m", "models=[student]", "stages=[distill]", trials, seconds("student", 2), *joblib)
    most, over = [0], threading.Event()

    def look():
        while not over.wait(0.1):
            listed = machine.cloud.aws("sagemaker").list_training_jobs(StatusEquals="InProgress")
            most.append(len(listed["TrainingJobSummaries"]))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        done = machine.cli(*run)
    finally:
        over.set()
        watcher.join()
    assert done.returncode == 0, done.stderr
    assert len(machine.created()) == 6  # the teacher once
    assert max(most) == 2


@pytest.mark.slow
def test_plan_shows_the_cost_and_the_budget_is_enforced(machine):
    plan = machine.cli("plan", *TEACHER)
    assert "up to $5.52" in plan.stdout
    assert "1 task to run, 0 reused. Time: unknown (never run here). Cost: at most $5.52." in plan.stdout
    refused = machine.cli(*TEACHER, "project.budget_usd=5")
    assert refused.returncode == 2
    assert "this run may cost $5.52, above the budget of $5.00: train:teacher $5.52" in refused.stderr
    assert "nothing was started" in refused.stderr
    assert machine.cloud.mutating() == {}
    machine.run(*TEACHER, "project.budget_usd=6")
    # The next task is expected to take as long as the model's last one on such a machine.
    again = other(machine).cli("plan", *TEACHER, "lineage.models.teacher.params.lr=0.3")
    assert "Cost: about $0.00." in again.stdout, again.stdout


def test_job_of_unknown_cost_is_refused_under_a_budget(machine):
    run = (*TEACHER, "executor.params.instance_type=ml.trn1.2xlarge", "project.budget_usd={task: 1}")
    with pytest.raises(ConfigError, match="its cost on this type of machine is unknown") as error:
        machine.run(*run)
    assert error.value.exit_code == 2
    assert machine.cloud.mutating() == {}
