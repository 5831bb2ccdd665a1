"""Run one cheap task as a job in a real account, with ``pytest -m aws`` only.

It needs credentials as AWS's own tools find them, a region, and
  POKEFLOW_AWS_BUCKET   a bucket of that region, such as the one that ``pokeflow provision`` makes
  POKEFLOW_AWS_ROLE     the ARN of the role that the job runs as; by default that of the project POKEFLOW_AWS_PROJECT
"""

import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.objects import _uri as uri
from pokeflow.objects._base import ObjectStore
from pokeflow.store._local import open_for_flow
from pokeflow_testkit.support import POKEFLOW, TOY_FLOW, Cli, environment

pytestmark = pytest.mark.aws
BUCKET, ROLE, PROJECT = (os.environ.get(f"POKEFLOW_AWS_{name}", "") for name in ("BUCKET", "ROLE", "PROJECT"))
REGION = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
MACHINE, LIMIT = "ml.m5.large", 1800


@pytest.fixture
def remote() -> Iterator[str]:
    """Yield an empty prefix of the account's bucket, and delete its objects afterwards."""
    missing = [name for name, value in (("POKEFLOW_AWS_BUCKET", BUCKET), ("AWS_REGION", REGION)) if not value]
    if not (ROLE or PROJECT):
        missing.append("POKEFLOW_AWS_ROLE or POKEFLOW_AWS_PROJECT")
    if missing:
        pytest.skip(f"a smoke test in a real account needs the variables {', '.join(missing)}")
    remote = f"s3://{BUCKET}/pokeflow-smoke-{uuid.uuid4().hex[:8]}"
    try:
        yield remote
    finally:
        objects = open_network(remote)
        for entry in list(objects.list("")):
            objects.delete(entry.key)


def open_network(remote: str) -> ObjectStore:
    return uri.open_uri(remote, region=REGION, encryption="AES256")


def delete_log(name: str) -> None:
    """Delete the log of the job; SageMaker keeps the job itself, which costs nothing."""
    from botocore.session import Session

    logs, group = Session().create_client("logs", region_name=REGION), "/aws/sagemaker/TrainingJobs"
    for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
        logs.delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])


def test_one_task_runs_as_a_job(cli: Cli, remote: str, capfd: pytest.CaptureFixture[str], tmp_path) -> None:
    account = [f"executor.params.account.role={ROLE}"] if ROLE else [f"executor.params.account.project={PROJECT}"]
    args = [
        *TOY_FLOW, "cloud=none", "models=[teacher]", "stages=[train]", f"store.root={tmp_path / 'store'}",
        "store=s3", f"store.remote={remote}", f"store.region={REGION}", "executor=sagemaker", *account,
        f"executor.params.instance_type={MACHINE}", f"executor.params.time_limit_seconds={LIMIT}",
        "executor.params.volume_gb=10", f"lineage.models.teacher.params.lr={uuid.uuid4().int % 10**9 / 10**10}",
        "project.budget_usd=0.5",
    ]  # fmt: skip
    with capfd.disabled():
        print(f"\nIn {REGION}, below {remote}: one training job on one {MACHINE}, and a few small objects.")
        print(cli("plan", *args).stdout)
        subprocess.run([POKEFLOW, *args], cwd=tmp_path, env=environment(), check=True, timeout=3600)
    flow = resolve(omegaconf.to_plain(composition.compose_config(args)), plugins.registry(plugins.manager()))
    record = open_for_flow(flow).load(flow.steps[0])
    assert record is not None
    assert record.executor == "sagemaker"
    assert record.environment["training_job"].startswith("pokeflow-teacher-")
    assert record.environment["billable_seconds"] > 0
    with capfd.disabled():
        cost = "unknown" if record.cost_usd is None else f"${record.cost_usd:.4f}"
        print(f"{record.environment['training_job']} took {record.environment['job_seconds']} s and cost {cost}.")
    assert "0 of 1 tasks ran" in cli(*args).stderr
    delete_log(record.environment["training_job"])
