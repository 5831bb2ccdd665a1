"""Run flows on a remote executor, whose jobs share only the bucket with this machine and commit records there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Backend, Executor, NoParams, Task, engine, plugins
from pokeflow.engine import job
from pokeflow.errors import TaskError
from pokeflow.flow import Flow, Service
from pokeflow.objects._folder import Folder
from pokeflow.store import _lease as leases
from pokeflow.store import _remote as remote
from pokeflow.store._local import Store, open_for_flow
from pokeflow.types import Record, RemoteStore
from pokeflow_testkit.support import TOY_MODELS, build_flow


class Cluster:
    """A remote executor: runs each task as a job in a folder of its own, with ``instead`` or ``afterwards``."""

    def __init__(self, root: Path) -> None:
        self.root, self.tasks = root, list[Task]()
        self.instead: Callable[[Task], object] | None = None
        self.afterwards: Callable[[Task], object] = lambda task: None

    def run(self, task: Task, backend: Backend, params: Any) -> None:
        self.tasks.append(task)
        if self.instead is not None:
            self.instead(task)
            return
        job.run_task(task, backend, executor="cluster", root=self.root / f"job{len(self.tasks)}")
        self.afterwards(task)


@pytest.fixture
def bucket(tmp_path: Path) -> Folder:
    (tmp_path / "bucket").mkdir()
    return Folder(tmp_path / "bucket")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "jobs")


@pytest.fixture
def flow_of(tmp_path: Path, bucket: Folder) -> Callable[..., Flow]:
    """Return a function that builds training and distillation, with those in ``remote`` on the cluster."""

    def make(remote: tuple[str, ...] = ("train:teacher", "distill:student"), **changes: Any) -> Flow:
        flow = build_flow(
            tmp_path / "store",
            TOY_MODELS,
            only=["student"],
            stages=["distill"],
            remote_store=RemoteStore(bucket.uri),
            **changes,
        )
        steps = (replace(s, executor="cluster") if s.name in remote else s for s in flow.steps)
        return replace(flow, steps=tuple(steps))

    return make


@pytest.fixture
def run(cluster: Cluster) -> Callable[[Flow], engine.RunResult]:
    pm = plugins.manager()
    base = plugins.registry(pm)
    executor = Executor("cluster", cluster.run, NoParams, remote=True)
    registry = replace(base, executors={**base.executors, "cluster": executor})

    def start(flow: Flow) -> engine.RunResult:
        since = engine.now()
        return engine.run(flow, registry, pm.hook, since, engine.plan(flow, since))

    return start


def replace_shared(bucket: Folder, record: Record, **changes: Any) -> None:
    bucket.write(f"{record.path}/record.json", remote.encode_record(replace(record, **changes)), match=None)


def test_job_record_is_read_and_its_files_stay_in_the_bucket(flow_of, run, cluster, bucket, tmp_path) -> None:
    result = run(flow_of())
    assert result.ran == ("train:teacher", "distill:student")
    record = result.records["distill:student"]
    assert (record.executor, record.inputs) == ("cluster", {"train:teacher": result.records["train:teacher"].content})
    assert remote.load(bucket, record.path) == record
    assert not (tmp_path / "store" / record.path).exists()
    assert not list((tmp_path / "store" / "work").iterdir())
    assert run(flow_of()).ran == ()
    assert len(cluster.tasks) == 2


def test_job_receives_bucket_inputs_and_replaced_record(flow_of, run, cluster) -> None:
    first = run(flow_of()).records["train:teacher"]
    run(flow_of(force=["teacher"]))
    task, again = cluster.tasks[0], cluster.tasks[2]
    assert task.remote_store == flow_of().remote_store
    assert (task.replaces, again.replaces) == (None, first.started)
    assert [item.record.task for item in cluster.tasks[1].inputs] == ["train:teacher"]
    assert (task.work / "output", task.work.parent.name) == (task.output, "work")


def test_local_input_is_uploaded_before_a_job_starts(flow_of, run, cluster, bucket, tmp_path) -> None:
    alone = replace(flow_of(remote=()), remote_store=None, steps=flow_of(remote=()).steps[:1])
    record = run(alone).records["train:teacher"]
    assert list(bucket.list()) == []
    seen: list[Record | None] = []
    cluster.instead = lambda task: seen.append(remote.load(bucket, task.inputs[0].record.path))
    with pytest.raises(TaskError):
        run(flow_of(remote=("distill:student",)))
    assert seen == [record]


def test_input_that_differs_in_the_bucket_starts_no_job(flow_of, run, cluster, bucket) -> None:
    record = run(flow_of(remote=())).records["train:teacher"]
    Store(flow_of().root).folder(flow_of().step("distill:student")).joinpath("record.json").unlink()
    bucket.delete(f"{flow_of().step('distill:student').path}/record.json")
    replace_shared(bucket, record, content="another", finished="9999")
    with pytest.raises(TaskError, match=r"train:teacher is not in file://.*, where a job would read it"):
        run(flow_of(remote=("distill:student",)))
    assert cluster.tasks == []


def test_a_job_that_leaves_no_record_has_failed(flow_of, run, cluster, bucket) -> None:
    cluster.instead = lambda task: None
    with pytest.raises(TaskError, match=f"the job succeeded but wrote no record to {bucket.uri}") as error:
        run(flow_of())
    assert "Not run: distill:student (a task that they need did not finish)." in str(error.value)
    assert error.value.records == {}


def test_job_record_with_other_inputs_is_rejected(flow_of, run, cluster, bucket) -> None:
    def replace_inputs(task: Task) -> None:
        record = remote.load(bucket, task.path)
        assert record is not None
        if task.inputs:
            replace_shared(bucket, record, inputs={"train:teacher": "another"})

    cluster.afterwards = replace_inputs
    with pytest.raises(TaskError, match="another run produced it from a different train:teacher") as error:
        run(flow_of())
    assert list(error.value.records) == ["train:teacher"]


def test_a_simulated_model_is_not_sent_to_be_registered(flow_of, run, cluster, tmp_path, bucket) -> None:
    models = {"teacher": TOY_MODELS["teacher"].changed(simulated=True)}
    flow = build_flow(tmp_path / "store", models, remote_store=RemoteStore(bucket.uri))
    flow = replace(flow, steps=tuple(replace(s, executor="cluster") for s in flow.steps))
    with pytest.raises(TaskError, match="cannot be registered"):
        run(flow)
    assert [task.name for task in cluster.tasks] == ["train:teacher", "benchmark:teacher"]


def test_job_is_tracked_even_if_this_process_was_interrupted(flow_of, run, cluster) -> None:
    tracked: list[str] = []

    def track(task: Task) -> dict[str, float]:
        tracked.append(task.inputs[0].record.task)
        return {}

    flow = flow_of(tracking=Service(Backend("spy", "track", track, NoParams), NoParams()))

    def lose_this_process(task: Task) -> None:
        if task.name == "train:teacher":
            raise KeyboardInterrupt

    cluster.afterwards = lose_this_process
    with pytest.raises(KeyboardInterrupt):
        run(flow)
    assert tracked == []
    run(flow)
    assert sorted(tracked) == ["distill:student", "train:teacher"]


def test_results_of_another_machine_since_the_plan_are_reused(flow_of, run, cluster, monkeypatch) -> None:
    flow = flow_of()
    planned = tuple(engine.plan(flow, engine.now()))
    records = run(flow).records
    pm = plugins.manager()
    base = plugins.registry(pm)
    executor = Executor("cluster", cluster.run, NoParams, remote=True)
    registry = replace(base, executors={**base.executors, "cluster": executor})
    again = engine.run(flow, registry, pm.hook, engine.now(), planned)
    assert (again.ran, again.records, len(cluster.tasks)) == ((), records, 2)


def test_a_job_s_messages_are_in_the_log_of_a_failure(flow_of, run, cluster) -> None:
    def fail(task: Task) -> None:
        raise ValueError("no such queue")

    cluster.instead = fail
    with pytest.raises(TaskError, match=r"train:teacher failed: ValueError: no such queue") as error:
        run(flow_of())
    log = Path(str(error.value).partition("log: ")[2].splitlines()[0])
    assert "ValueError: no such queue" in log.read_text()


def test_the_record_is_not_committed_without_the_lease(flow_of, run, monkeypatch, bucket, tmp_path) -> None:
    held = leases.Lease.require_held

    def lose(lease: leases.Lease) -> None:
        lease.lost = True
        held(lease)

    monkeypatch.setattr(leases.Lease, "require_held", lose)
    with pytest.raises(TaskError, match="another took it over"):
        run(flow_of(remote=()))
    flow = flow_of(remote=())
    assert open_for_flow(flow).load(flow.step("train:teacher")) is None
    assert not [entry for entry in bucket.list("tasks/") if entry.key.endswith("record.json")]


def test_reused_result_is_shared_if_the_bucket_lacks_it(flow_of, run, bucket) -> None:
    alone = replace(flow_of(remote=()), remote_store=None)
    records = run(alone).records
    assert run(flow_of(remote=())).ran == ()
    assert remote.load(bucket, records["distill:student"].path) == records["distill:student"]


def test_job_work_folder_holds_the_run_note(flow_of, run, cluster) -> None:
    seen: list[bool] = []
    cluster.instead = lambda task: seen.append((task.work / "telemetry" / "run.yaml").is_file())
    with pytest.raises(TaskError):
        run(flow_of())
    assert seen == [True]


def test_failed_job_restarts_in_the_same_work_folder(flow_of, run, cluster) -> None:
    cluster.instead = lambda task: (task.work / "checkpoint").write_text("kept")
    with pytest.raises(TaskError, match="wrote no record"):
        run(flow_of())
    cluster.instead = None
    assert run(flow_of()).ran == ("train:teacher", "distill:student")
