"""The shipped lineage with small networks, as jobs: the same figures as locally, also with many processes."""

import json
import subprocess
from pathlib import Path

import pytest

from pokeflow import Record, plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.store._local import Store, open_for_flow
from pokeflow_testkit.support import POKEFLOW, environment

from .jobs_flow import QUICK

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("containers")]
TEACHER = "dinov3-teacher"
MODELS = (TEACHER, "efficientnet-student-stage1", "efficientnet-student-stage2")
SMALL = (
    "cloud=none", "tracking=none", "registry=none",
    "data.cards=40", "data.queries.calibration=40", "data.photos.cards=1",
    *(f"lineage.models.{model}.params.loop.epochs=1" for model in MODELS),
    "model.teacher=${model.student}",
)  # fmt: skip


def args_of(cloud, root: Path, *more: str) -> list[str]:
    jobs = (
        ["executor=sagemaker", f"executor.params.account.role={cloud.role}", *QUICK] if more[:1] != ("local",) else []
    )
    shared = ["store=s3", f"store.remote={cloud.uri}/{root.name}"] if jobs else []
    return [*SMALL, f"store.root={root}", *shared, *jobs, *(word for word in more if word != "local")]


def run_lineage(cloud, root: Path, *more: str) -> dict[str, Record]:
    """Run the lineage as a user does; return its records by task."""
    root.mkdir()
    args = args_of(cloud, root, *more)
    command = [POKEFLOW, *args]
    done = subprocess.run(
        command, cwd=root, env=environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    (root / "stderr.txt").write_text(done.stderr)
    flow = resolve(omegaconf.to_plain(composition.compose_config(args)), plugins.registry(plugins.manager()))
    store = open_for_flow(flow)
    return {step.name: record for step in flow.steps if (record := store.load(step))}


def test_the_lineage_has_the_same_figures_as_on_this_machine(cloud, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # not set in a job's container
    chosen = "stages=[train,distill,compile]"
    here = run_lineage(cloud, tmp_path / "here", "local", chosen)
    there = run_lineage(cloud, tmp_path / "there", chosen)
    assert there.keys() == here.keys()
    for task, record in there.items():
        assert record.digest == here[task].digest
        # The same processor and the same number of threads: the same bytes.
        assert (task, record.content) == (task, here[task].content)
        assert record.metrics == here[task].metrics
        assert record.executor == "sagemaker"
        assert record.cost_usd > 0
    assert list(Store(tmp_path / "there").records()) == []
    output = (tmp_path / "there" / "stderr.txt").read_text()
    assert output.count(": training job pokeflow-") == 3
    assert output.count(": processing job pokeflow-") == 2


@pytest.mark.parametrize(("instances", "processes"), [(1, 2), (2, 1)])
def test_many_processes_train_one_model(cloud, tmp_path, instances, processes):
    spread = (f"executor.params.instance_count={instances}", f"executor.params.container.processes={processes}")
    records = run_lineage(
        cloud, tmp_path / "there", f"models=[{TEACHER}]", "stages=[train]", "+data.executor=local", *spread
    )
    record = records[f"train:{TEACHER}"]
    assert record.environment["instance_count"] == instances
    assert record.environment["host"] == "algo-1"
    job = cloud.aws("sagemaker").describe_training_job(TrainingJobName=record.environment["training_job"])
    assert job["ResourceConfig"]["InstanceCount"] == instances
    assert record.cost_usd == pytest.approx(0.23 / 3600 * job["BillableTimeInSeconds"] * instances, abs=1e-6)
    streams = cloud.aws("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    assert len(streams) == instances
    written = {file.path for file in record.files}
    assert {"model.onnx", "weights.pt", "history.jsonl"} <= written
    client = cloud.client()
    key = f"there/{Store.key(record)}/history.jsonl"
    lines = client.get_object(Bucket=cloud.name, Key=key)["Body"].read().decode().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == sorted({json.loads(line)["epoch"] for line in lines})
