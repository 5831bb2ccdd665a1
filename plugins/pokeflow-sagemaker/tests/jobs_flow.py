"""The toy flow as jobs of the test cloud, launched from machines that share nothing but the bucket."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pokeflow
from pokeflow import Record, plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.engine import RunResult
from pokeflow.flow import Flow
from pokeflow.objects import _uri as uri
from pokeflow.store._local import Store, open_for_flow
from pokeflow_testkit.cloud import Cloud
from pokeflow_testkit.support import POKEFLOW, TOY_FLOW, environment

QUICK = ("executor.params.container.install=false", "executor.params.client.poll_seconds=0.1")
"""Install nothing: the container runs in this interpreter's own environment."""
SPOT = ("executor.params.spot_wait_seconds=600",)


def seconds(model: str, amount: float) -> str:
    """Return the override for a model's training time, with a checkpoint each tenth of a second."""
    return f"lineage.models.{model}.params.seconds={amount}"


def has_checkpoint(machine: "Launcher") -> bool:
    """Return whether a job of the toy training has uploaded its checkpoint."""
    return any("steps.txt" in entry.key for entry in machine.objects.list("work/"))


def until(done: Callable[[], Any], patience: float = 120) -> Any:
    """Wait until ``done`` returns a true value, and return it."""
    end = time.monotonic() + patience
    while not (value := done()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Launcher:
    """A machine that launches jobs from its own folder, with the chosen executor."""

    cloud: Cloud
    folder: Path
    executor: str = "sagemaker"

    @property
    def remote(self) -> str:
        return f"{self.cloud.uri}/p"

    @property
    def objects(self) -> Any:
        return uri.open_uri(self.remote, endpoint=self.cloud.endpoint, region=self.cloud.region, encryption="AES256")

    def args(self, *overrides: str) -> list[str]:
        mine = [f"executor={self.executor}"]
        if self.executor == "sagemaker":
            mine += [f"executor.params.account.role={self.cloud.role}", *QUICK]
        flow = (*TOY_FLOW, "cloud=none", "store=s3", f"store.remote={self.remote}", f"store.root={self.folder}")
        return [*flow, *mine, *overrides]

    def flow(self, *overrides: str) -> Flow:
        return resolve(
            omegaconf.to_plain(composition.compose_config(self.args(*overrides))), plugins.registry(plugins.manager())
        )

    def run(self, *overrides: str, since: str | None = None) -> RunResult:
        """Run the flow in this process."""
        return pokeflow.run(self.flow(*overrides), since=since)

    def cli(self, *overrides: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a user does."""
        with self.started(*overrides, **more) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @contextmanager
    def started(self, *overrides: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; keywords in capitals are variables, others go to Popen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = {name: more.pop(name) for name in list(more) if name.isupper()}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        command = self._command(overrides)
        env = environment(**variables)
        with subprocess.Popen([POKEFLOW, *command], cwd=self.folder, env=env, text=True, **pipes) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _command(self, overrides: tuple[str, ...]) -> list[str]:
        before = [word for word in overrides if word in ("plan", "-m")]
        return [*before, *self.args(*(word for word in overrides if word not in before))]

    def store(self, *overrides: str) -> Store:
        return open_for_flow(self.flow(*overrides))

    def here(self) -> set[str]:
        """Return the tasks whose files this machine has."""
        return {record.task for record, _ in Store(self.folder).records()}

    # State of the cloud.

    def created(self) -> list[str]:
        """Return the names of the created jobs, in order."""
        calls = [c for c in self.cloud.calls() if c["operation"] in ("CreateTrainingJob", "CreateProcessingJob")]
        return [c["request"].get("TrainingJobName") or c["request"]["ProcessingJobName"] for c in calls if ok(c)]

    def training(self, name: str) -> dict[str, Any]:
        return dict(self.cloud.aws("sagemaker").describe_training_job(TrainingJobName=name))

    def said(self, name: str) -> list[str]:
        """Return the log lines of a training job's first machine."""
        logs, group = self.cloud.aws("logs"), "/aws/sagemaker/TrainingJobs"
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/algo-1")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        pages = [logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"])["events"] for s in streams]
        return [event["message"] for events in pages for event in events]

    def first(self) -> str:
        """Wait until the first job works at its task, and return its name."""
        name = until(self.created)[0]
        until(lambda: any(line.startswith("begins at step") for line in self.said(name)))
        return str(name)


def ok(call: dict[str, Any]) -> bool:
    return bool(call["status"] < 400)


def start_steps(lines: list[str]) -> list[int]:
    """Return the steps at which a task's attempts began."""
    steps = [line.rpartition("begins at step ")[2] for line in lines if "begins at step" in line]
    return [int(step) for step in steps]


def same(record: Record, other: Record) -> bool:
    """Check that two records describe the same result."""
    parts = ("task", "digest", "content", "metrics", "facts", "inputs", "params", "files")
    return all(getattr(record, part) == getattr(other, part) for part in parts)
