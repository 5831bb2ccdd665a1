"""Store telemetry and run notes with a result: not as content, kept over a kill, shared, and without secrets."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import pokeflow
from pokeflow import RemoteStore, Result, Task, engine
from pokeflow.engine import _runner as runner
from pokeflow.engine._provenance import RunNote, without_secrets
from pokeflow.errors import TaskError
from pokeflow.flow import Flow, Sweep
from pokeflow.objects import open_uri
from pokeflow.objects._base import ObjectStore
from pokeflow.objects._folder import Folder
from pokeflow.store import _local as local
from pokeflow.store._local import Store
from pokeflow_s3 import Bucket
from pokeflow_testkit.support import TOY_FLOW, TOY_MODELS, Cli, build_flow, contents, run_flow

TEACHER: dict[str, Any] = {"only": ["teacher"], "stages": ["train"]}


def write_telemetry(task: Task, rows: int = 3) -> Result:
    """Write telemetry of some steps, and a model that does not depend on it."""
    (task.work / "telemetry" / "tensorboard").mkdir(exist_ok=True)
    (task.work / "telemetry" / "tensorboard" / f"events.{os.getpid()}").write_bytes(os.urandom(8))
    with (task.work / "telemetry" / "steps.jsonl").open("a") as out:
        for step in range(1, rows + 1):
            print(json.dumps({"step": step, "pid": os.getpid()}), file=out)
    (task.output / "model.txt").write_text("weights")
    return Result({"score": 0.5})


def toy_flow(root: Path, *, student: Mapping[str, Any] = {}, tiny: Mapping[str, Any] = {}, **changes: Any) -> Flow:
    """Build the toy flow, with other parameters of two of its models."""
    changed = {name: TOY_MODELS[name].changed(**values) for name, values in (("student", student), ("tiny", tiny))}
    return build_flow(root, {**TOY_MODELS, **changed}, config={"toy": [dict(student), dict(tiny)]}, **changes)


def flow_with(root: Path, run: Callable[[Task], Result], **changes: Any) -> Flow:
    """Build the flow of the toy's teacher, trained by ``run``."""
    flow = toy_flow(root, **TEACHER, **changes)
    (step,) = flow.steps
    return replace(flow, steps=(replace(step, backend=replace(step.backend, run=run)),))


def telemetry_folder(flow: Flow) -> Path:
    return Store(flow.root).folder(flow.steps[0]) / "telemetry"


def read_note(folder: Path) -> dict[str, object]:
    return yaml.safe_load((folder / "telemetry" / "run.yaml").read_text(encoding="utf-8"))


def rows(folder: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def in_a_process(target: Callable[..., None], *args: object) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=args)
    process.start()
    process.join(120)
    return process.exitcode


# What it is to a result


def test_telemetry_is_stored_with_the_result_but_not_as_content(tmp_path: Path) -> None:
    flow = flow_with(tmp_path / "store", write_telemetry)
    record = run_flow(flow)["train:teacher"]
    files = set(contents(telemetry_folder(flow)))
    assert files == {"run.yaml", "steps.jsonl", f"tensorboard/events.{os.getpid()}"}
    assert [file.path for file in record.files] == ["model.txt"]
    assert not Store(flow.root).work(record).exists()


def test_telemetry_does_not_change_digest_or_content(tmp_path: Path) -> None:
    silent = flow_with(tmp_path / "a", lambda task: write_telemetry(task, rows=0))
    eloquent = flow_with(tmp_path / "b", lambda task: write_telemetry(task, rows=50))
    eloquent = replace(eloquent, project="other")
    one, other = run_flow(silent)["train:teacher"], run_flow(eloquent)["train:teacher"]
    assert (one.digest, one.content) == (other.digest, other.content)
    assert len(rows(telemetry_folder(silent))) < len(rows(telemetry_folder(eloquent)))


def test_forced_redo_keeps_only_its_own_telemetry(tmp_path: Path) -> None:
    run_flow(flow_with(tmp_path, write_telemetry))
    again = flow_with(tmp_path, lambda task: write_telemetry(task, rows=1), force=["teacher"])
    run_flow(again)
    assert [row["step"] for row in rows(telemetry_folder(again))] == [1]


def test_output_named_telemetry_is_refused(tmp_path: Path) -> None:
    def greedy(task: Task) -> Result:
        (task.output / "telemetry").mkdir()
        return Result({"score": 1.0})

    with pytest.raises(TaskError, match="telemetry: this name is reserved for pokeflow's own files"):
        run_flow(flow_with(tmp_path, greedy))


def test_nested_output_named_telemetry_is_allowed(tmp_path: Path) -> None:
    def deep(task: Task) -> Result:
        (task.output / "report" / "telemetry").mkdir(parents=True)
        (task.output / "report" / "telemetry" / "x").write_text("x")
        return Result({"score": 1.0})

    (record,) = run_flow(flow_with(tmp_path, deep)).values()
    assert [file.path for file in record.files] == ["report/telemetry/x"]


# Over a kill


def kill_after_telemetry(task: Task) -> Result:
    write_telemetry(task, rows=2)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _run_and_be_killed(root: Path) -> None:
    run_flow(flow_with(root, kill_after_telemetry))


def _be_killed_before_the_record(root: Path) -> None:
    def killed(*args: object, **kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    local.write_atomically = killed  # type: ignore[assignment]
    run_flow(flow_with(root, write_telemetry))


@pytest.mark.parametrize("attempt", [_run_and_be_killed, _be_killed_before_the_record])
def test_telemetry_written_before_a_kill_is_kept(tmp_path: Path, attempt: Callable[[Path], None]) -> None:
    assert in_a_process(attempt, tmp_path) == -signal.SIGKILL
    flow = flow_with(tmp_path, write_telemetry)
    run_flow(flow)
    steps = rows(telemetry_folder(flow))
    assert len({row["pid"] for row in steps}) == 2
    assert steps[0]["pid"] != os.getpid() == steps[-1]["pid"]
    assert len(list((telemetry_folder(flow) / "tensorboard").iterdir())) == 2


def test_rerun_after_lost_files_starts_new_telemetry(tmp_path: Path) -> None:
    flow = flow_with(tmp_path, write_telemetry)
    run_flow(flow)
    (telemetry_folder(flow).parent / "model.txt").unlink()
    run_flow(flow)
    assert len(rows(telemetry_folder(flow))) == 3


# The note of the run


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "process"])
def test_run_note_records_command_and_configuration(cli: Cli, tmp_path: Path, executor: str) -> None:
    changed = ["lineage.models.student.params.lr=0.7", f"executor={executor}"]
    done = cli(*TOY_FLOW, *changed)
    assert done.returncode == 0, done.stderr
    folders = [file.parent for file in (tmp_path / "store" / "tasks").rglob("record.json")]
    assert len(folders) == 9
    for folder in folders:
        note = read_note(folder)
        assert set(note) == {"command", "sweep", "config"}
        assert note["command"] == " ".join(["pokeflow", *TOY_FLOW, *changed])
        assert note["sweep"] is None
        assert note["config"]["lineage"]["models"]["student"]["params"]["lr"] == 0.7
        assert "hydra" not in note["config"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_run_note_of_a_trial_records_its_sweep(cli: Cli, tmp_path: Path, launcher: tuple[str, ...]) -> None:
    done = cli("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1,0.2", *launcher)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "store" / "sweeps").glob("*/*")
    students = [read_note(student) for student in (tmp_path / "store" / "tasks" / "distill" / "student").iterdir()]
    sweeps = sorted((note["sweep"] for note in students), key=lambda sweep: sweep["trial"])
    own = [f"lineage.models.student.params.lr={lr}" for lr in (0.1, 0.2)]
    name = f"{folder.parent.name}/{folder.name}"
    assert sweeps == [{"id": name, "trial": i, "overrides": [*TOY_FLOW, own[i]]} for i in range(2)]
    assert all("-m" not in note["command"] for note in students)  # the command that repeats this one trial


@pytest.mark.slow
def test_sweep_outside_the_store_is_named_by_its_full_path(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1", "hydra.sweep.dir=mine")
    assert done.returncode == 0, done.stderr
    (student,) = (tmp_path / "store" / "tasks" / "distill" / "student").iterdir()
    assert read_note(student)["sweep"]["id"] == str(tmp_path / "mine")


def test_run_note_is_hard_linked_and_never_rewritten(tmp_path: Path) -> None:
    run_flow(toy_flow(tmp_path, student={"lr": 0.3}))
    files = sorted((tmp_path / "tasks").rglob("run.yaml"))
    assert len({file.stat().st_ino for file in files}) == 1
    before = files[0].read_bytes()
    other = toy_flow(tmp_path, tiny={"lr": 0.9})
    with pytest.raises(TaskError):  # the student's attempt leaves a note in its work folder …
        run_flow(toy_flow(tmp_path, student={"fail": True}))
    run_flow(other)  # … and other results come from another configuration
    assert all(file.read_bytes() == before for file in files)


def test_a_file_system_without_hard_links_has_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    run_flow(toy_flow(tmp_path))
    files = sorted((tmp_path / "tasks").rglob("run.yaml"))
    assert len({file.stat().st_ino for file in files}) == len(files) == 9
    assert len({file.read_bytes() for file in files}) == 1


def test_run_that_reuses_everything_writes_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_flow(toy_flow(tmp_path))

    def dump(*args: object, **kwargs: object) -> str:
        raise AssertionError("a run of nothing must stay quick")

    monkeypatch.setattr(yaml, "dump", dump)
    flow = toy_flow(tmp_path)
    assert all(planned.record for planned in engine.plan(flow, runner.now()))
    assert pokeflow.run(flow).ran == ()


def test_unwritable_run_note_fails_no_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flow = toy_flow(tmp_path, **TEACHER)
    work = Store(flow.root).work(flow.steps[0])
    work.mkdir(parents=True)
    (work / "telemetry").write_text("a file where the folder should be")
    assert run_flow(flow)["train:teacher"].metrics["score"] is not None
    assert "run.yaml cannot be written" in caplog.text


# Secrets


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("tracking.password=hunter2", "tracking.password=…"),
        ("++data.hf_token=hunter2", "++data.hf_token=…"),
        ("tracking.uri=https://me:hunter2@host/x", "tracking.uri=https://host/x"),
        ("executor.params={name: a, apiKey: hunter2}", "executor.params=…"),
        ("executor.params={env:{hf_token:hunter2}}", "executor.params=…"),
        ("lineage.models.student.params={token_dim: 3}", "lineage.models.student.params={token_dim: 3}"),
        ("lineage.models.student.params.lr=0.1", "lineage.models.student.params.lr=0.1"),
        ("models=[teacher,student]", "models=[teacher,student]"),
        ("publish", "publish"),
    ],
)
def test_overrides_are_recorded_without_secrets(word: str, shown: str) -> None:
    assert without_secrets(word) == shown


def test_a_note_holds_no_secret_of_any_part(tmp_path: Path) -> None:
    secret = "tracking.password=hunter2"
    flow = replace(
        toy_flow(tmp_path, **TEACHER),
        command=f"pokeflow {secret} 'executor.params={{db_password: hunter2}}'",
        sweep=Sweep("2026-01-01/00-00-00-0", 3, (secret,)),
        config={"tracking": {"password": "hunter2", "uri": "s3://bucket"}, "list": [{"apiKey": "hunter2"}]},
    )
    RunNote(flow).write(tmp_path, tmp_path / "elsewhere")
    text = (tmp_path / "telemetry" / "run.yaml").read_text(encoding="utf-8")
    assert "hunter2" not in text
    assert read_note(tmp_path) == {
        "command": "pokeflow 'tracking.password=…' 'executor.params=…'",
        "sweep": {"id": "2026-01-01/00-00-00-0", "trial": 3, "overrides": ["tracking.password=…"]},
        "config": {"tracking": {"password": "…", "uri": "s3://bucket"}, "list": [{"apiKey": "…"}]},
    }


# In a bucket


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        (tmp_path / "bucket").mkdir()
        return Folder(tmp_path / "bucket")
    server = request.getfixturevalue("s3")
    return open_uri(server.uri, endpoint=server.endpoint)


def shared(bucket: ObjectStore) -> RemoteStore:
    """Return the bucket as a flow configures it."""
    return RemoteStore(bucket.uri, bucket.server.endpoint if isinstance(bucket, Bucket) else None)


def test_telemetry_is_fetched_by_another_machine(tmp_path: Path, bucket: ObjectStore) -> None:
    flow = replace(flow_with(tmp_path / "a", write_telemetry), remote_store=shared(bucket))
    record = run_flow(flow)["train:teacher"]
    other = Store(tmp_path / "b", bucket)
    assert contents(other.fetch(record) / "telemetry") == contents(telemetry_folder(flow))


def test_a_redo_leaves_nothing_old_in_the_bucket(tmp_path: Path, bucket: ObjectStore) -> None:
    first = replace(flow_with(tmp_path / "a", write_telemetry), remote_store=shared(bucket))
    old = run_flow(first)["train:teacher"]
    draft = Store(tmp_path / "b", bucket).work(old) / f"fetched-{old.content}" / "telemetry"
    draft.mkdir(parents=True)
    (draft / "of-an-earlier-fetch").write_text("cut off, of the first run, with the same content")

    def otherwise(task: Task) -> Result:
        (task.work / "telemetry" / "other").write_text("x")
        (task.output / "model.txt").write_text("weights")
        return Result({"score": 0.5})

    again = replace(flow_with(tmp_path / "a", otherwise, force=["teacher"]), remote_store=shared(bucket))
    record = run_flow(again)["train:teacher"]
    assert record.content == old.content
    assert set(contents(Store(tmp_path / "b", bucket).fetch(record) / "telemetry")) == {"run.yaml", "other"}


def test_result_shared_without_telemetry_is_fetched(tmp_path: Path, bucket: ObjectStore) -> None:
    flow = replace(flow_with(tmp_path / "a", write_telemetry), remote_store=shared(bucket))
    record = run_flow(flow)["train:teacher"]
    for entry in list(bucket.list(f"{Store.key(record)}/telemetry/")):
        bucket.delete(entry.key)
    folder = Store(tmp_path / "b", bucket).fetch(record)
    assert (folder / "model.txt").is_file()
    assert not (folder / "telemetry").exists()


def test_a_link_in_telemetry_is_not_followed_into_a_bucket(tmp_path: Path, bucket: ObjectStore) -> None:
    (tmp_path / "private").write_text("nobody else's business")

    def linking(task: Task) -> Result:
        (task.work / "telemetry" / "link").symlink_to(tmp_path / "private")
        (task.output / "model.txt").write_text("weights")
        return Result({"score": 0.5})

    record = run_flow(replace(flow_with(tmp_path / "a", linking), remote_store=shared(bucket)))["train:teacher"]
    keys = [entry.key for entry in bucket.list(f"{Store.key(record)}/telemetry/")]
    assert [key.rpartition("/")[2] for key in keys] == ["run.yaml"]
