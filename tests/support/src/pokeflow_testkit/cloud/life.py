"""The life of one job: its machines, its statuses, and its end."""

import math
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import machines
from .container import Container
from .delivery import Delivery, LostError
from .logs import Stream
from .state import Row, State, now

TICK = 0.05
SAID = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Interrupted": "Training job interrupted",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)


class Ended(Exception):  # noqa: N818 - most ends are not errors
    """The end of a job: its status, secondary status, and reason of a failure."""

    def __init__(self, status: str, secondary: str = "", reason: str = "") -> None:
        super().__init__(reason)
        self.status, self.secondary, self.reason = status, secondary or status, reason


@dataclass(slots=True)
class Job:
    """A job of one kind (``Training``, ``Processing``); ``wanted`` is a pending request to stop or interrupt it."""

    state: State
    row: Row
    kind: str
    wanted: str = ""
    spent: float = 0.0
    synced: float = 0.0
    thread: Any = None
    containers: list[Container] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    sent: Any = None
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.row[f"{self.kind}JobName"])

    @property
    def training(self) -> bool:
        """True for a training job, False for a processing job."""
        return self.kind == "Training"

    @property
    def cluster(self) -> Row:
        """The configuration of its instances."""
        return dict(self.row["ResourceConfig"] if self.training else self.row["ProcessingResources"]["ClusterConfig"])

    @property
    def spot(self) -> bool:
        """True if the job runs on spot instances."""
        return bool(self.row.get("EnableManagedSpotTraining"))

    def start(self) -> None:
        """Run the job in a thread."""
        self.thread = threading.Thread(target=self._live, daemon=True, name=self.name)
        self.thread.start()

    def want(self, wanted: str) -> None:
        """Request a stop, an interruption or a kill."""
        self.wanted = wanted
        self.woken.set()

    def _live(self) -> None:
        born = time.monotonic()
        try:
            while True:
                self._move("Starting")
                if not self._attempt(born):
                    break
        except Ended as end:
            self._end(end)
        except LostError as error:
            self._end(Ended("Failed", reason=f"ClientError: Artifact upload failed:{error}"))
        except Exception as error:  # noqa: BLE001 - any error must end the job
            self._end(Ended("Failed", reason=f"InternalServerError: {type(error).__name__}: {error}"))

    def _move(self, secondary: str) -> None:
        """Set the next secondary status, which only training jobs have."""
        with self.state.lock:
            self.row["LastModifiedTime"] = now()
            if not self.training:
                return
            passed = self.row["SecondaryStatusTransitions"]
            if passed and passed[-1]["Status"] == secondary:
                return
            if passed:
                passed[-1]["EndTime"] = now()
            passed.append({"Status": secondary, "StartTime": now(), "StatusMessage": SAID[secondary]})
            self.row["SecondaryStatus"] = secondary

    def _check_wanted(self) -> bool:
        """Raise if the job is to end; return whether it is interrupted."""
        if self.wanted == "kill":
            raise Ended("Stopped")
        if self.wanted == "stop":
            raise Ended("Stopped")
        return self.wanted == "interrupt"

    def _await_instances(self, born: float) -> None:
        trouble, began = self.state.trouble, time.monotonic()
        wait = (self.row.get("StoppingCondition") or {}).get("MaxWaitTimeInSeconds")
        while True:
            lacking = self.state.dice.lacks(self.cluster["InstanceType"])
            if lacking and not self.spot:
                raise Ended("Failed", reason=CAPACITY)
            if not lacking and time.monotonic() - began >= trouble.starting:
                return
            if self.spot and time.monotonic() - born > wait:
                raise Ended("Stopped", "MaxWaitTimeExceeded")
            self.woken.wait(TICK)
            self._check_wanted()

    def _attempt(self, born: float) -> bool:
        """Run once; return whether it was interrupted and must run again."""
        self._await_instances(born)
        self._move("Downloading")
        root = Path(tempfile.mkdtemp(prefix="machines-"))
        try:
            names = machines.hosts(self.cluster["InstanceCount"])
            self.containers = [Container(root / name) for name in names]
            prepare = machines.prepare_training if self.training else machines.prepare_processing
            for name, container in zip(names, self.containers, strict=True):
                container.ml.mkdir(parents=True)
                try:
                    prepare(self.state, self.row, container.ml, name, names)
                except machines.InputError as error:
                    raise Ended("Failed", reason=f"ClientError: Data download failed:{error}") from error
            if self._check_wanted():
                return self._mark_interrupted()
            if self.image in self.state.trouble.no_tags:
                raise Ended("Failed", reason=f"ClientError: Cannot find the requested image {self.image}: no such tag")
            self._move("Training")
            interrupted = self._run(names, born)
            return self._mark_interrupted() if interrupted else False
        finally:
            for container in self.containers:
                container.kill()
                if container.process is not None:
                    container.wait(10)
            self.containers = []
            shutil.rmtree(root, ignore_errors=True)

    def _mark_interrupted(self) -> bool:
        self._move("Interrupted")
        self.wanted = ""
        self.woken.clear()
        return True

    @property
    def image(self) -> str:
        """The address of its image."""
        spec = self.row["AlgorithmSpecification" if self.training else "AppSpecification"]
        return str(spec["TrainingImage" if self.training else "ImageUri"])

    def _command(self) -> list[str]:
        spec = self.row["AlgorithmSpecification" if self.training else "AppSpecification"]
        entry = spec.get("ContainerEntrypoint") or (["train"] if self.training else [])
        return [*entry, *(spec.get("ContainerArguments") or [])]

    def _run(self, names: list[str], born: float) -> bool:
        """Run the containers to their end; return whether they were interrupted."""
        self.sent, began = Delivery(self.state, self.row, [c.ml for c in self.containers]), time.monotonic()
        with self.state.lock:
            self.row.setdefault(f"{self.kind}StartTime", now())
        env = machines.environment(self.state, self.row, self.name)
        if self.training:
            env = {"TRAINING_JOB_NAME": self.name, "TRAINING_JOB_ARN": self.row["TrainingJobArn"], **env}
        streams = [Stream(self.state, self.lines, self.kind, self.name, host) for host in names]
        for container, stream in zip(self.containers, streams, strict=True):
            container.start(self._command(), env, names, stream.say)
        try:
            end, why = self._watch(began, born, streams)
        finally:
            self.spent += time.monotonic() - began
        for stream in streams:
            stream.flush()
        if end == "interrupt":
            return True
        if end == "kill":
            raise Ended("Stopped")
        if end == "failed":
            self._keep(failed=True)
            self._sync()
            raise Ended("Failed", reason=self._why(why))
        self._sync()
        self._move("Uploading")
        self._keep(failed=False)
        raise Ended(*(("Completed",) if end == "ended" else ("Stopped", why)))

    def _watch(self, began: float, born: float, streams: list[Stream]) -> tuple[str, str]:
        """Watch the containers until they end; return ``ended``, ``failed`` or the request, and a code or status."""
        limits = self.row.get("StoppingCondition") or {}
        longest, wait = limits.get("MaxRuntimeInSeconds", 86400), limits.get("MaxWaitTimeInSeconds", math.inf)
        self.synced = time.monotonic()
        while True:
            if self.cluster["InstanceType"] in self.state.trouble.out_of_memory and self.lines:
                for container in self.containers:
                    container.kill()
                    container.wait(10)
                return "failed", "137"
            codes = [container.code for container in self.containers]
            if all(code is not None for code in codes) or any(codes):
                for container in self.containers:
                    container.kill()
                    container.wait(10)
                failed = next((str(code) for code in codes if code), "")
                return ("failed", failed) if failed else ("ended", "")
            at = time.monotonic()
            if self.wanted:
                return self.wanted, self._terminate(self.wanted)
            if self.spent + at - began > longest:
                self._terminate("stop")
                return "stop", "MaxRuntimeExceeded"
            if at - born > wait:
                self._terminate("stop")
                return "stop", "MaxWaitTimeExceeded"
            self._sync_in_time()
            for stream in streams:
                stream.flush()
            self.woken.wait(TICK)

    def _terminate(self, wanted: str) -> str:
        """Send SIGTERM, wait for the grace period, and send SIGKILL; sync checkpoints meanwhile."""
        if wanted == "stop":
            self._move("Stopping")
        if wanted != "kill":
            for container in self.containers:
                container.terminate()
        end = time.monotonic() + (0 if wanted == "kill" else self.state.trouble.grace)
        while time.monotonic() < end and any(c.code is None for c in self.containers) and self.wanted != "kill":
            self._sync_in_time()
            time.sleep(TICK)
        left = all(container.code is not None for container in self.containers)
        for container in self.containers:
            container.kill()
            container.wait(10)
        if left and wanted == "interrupt":
            self._sync()  # the machine still exists
        return "Stopped"

    def _keep(self, failed: bool) -> None:
        if not self.state.gone:
            self.sent.all(self.name, failed)

    def _sync_in_time(self) -> None:
        if time.monotonic() - self.synced > self.state.trouble.sync:
            self._sync()
            self.synced = time.monotonic()

    def _sync(self) -> None:
        if not self.state.gone:
            self.sent.sync()

    def _why(self, code: str) -> str:
        said = next(filter(None, (machines.failure(container.ml) for container in self.containers)), "")
        return f"AlgorithmError: {said}, exit code: {code}"[:1024]

    def _end(self, end: Ended) -> None:
        with self.state.lock:
            if self.state.gone:
                return
            row, kind = self.row, self.kind
            if end.reason:
                row["FailureReason"] = end.reason
            if not self.training:
                row |= {"ProcessingEndTime": now(), "ProcessingJobStatus": end.status, "LastModifiedTime": now()}
                return
            self._move(end.secondary)
            row["SecondaryStatusTransitions"][-1]["EndTime"] = now()
            row[f"{kind}EndTime"] = now()
            if f"{kind}StartTime" in row:
                seconds = max(2, math.ceil(self.spent))
                row["TrainingTimeInSeconds"] = seconds
                # Spot instances cost about a third, which AWS reports as billable time.
                row["BillableTimeInSeconds"] = max(1, seconds * 35 // 100) if self.spot else seconds
                row["FinalMetricDataList"] = machines.metrics(row, self.lines)
            row["TrainingJobStatus"] = end.status
