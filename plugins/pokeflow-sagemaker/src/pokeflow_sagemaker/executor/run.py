"""Execution of a task as a SageMaker job: attach to a running job or start one, wait, and report a failure."""

import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pokeflow import Backend, PokeflowError, Task, dump_task, hold_lease
from pokeflow.errors import Failure
from pokeflow.objects import ABSENT, ObjectStore, PreconditionError, open_remote_store
from pokeflow.types import TELEMETRY
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor import code, jobs, watch
from pokeflow_sagemaker.executor import request as requests
from pokeflow_sagemaker.executor.jobs import NAMES, RUNNING, Job
from pokeflow_sagemaker.executor.params import JobParams, kind_of
from pokeflow_sagemaker.executor.request import ExecutionRole, Files
from pokeflow_sagemaker.provision import names

log = logging.getLogger(__name__)
KILLED = "137"
"""Exit code of a process that was ended by SIGKILL, as the kernel does when memory runs out."""


def run(task: Task, backend: Backend, params: JobParams) -> None:
    """Run a task as a job: attach to a running one or start a new one, and wait for its end.

    Raises:
        PokeflowError: If the job fails, is stopped, or cannot be started; UnavailableError if its instance lacks what
            the task needs.

    """
    assert task.remote_store is not None  # remote executors require a shared store
    bucket = task.remote_store
    region = aws.region(params.account.region)
    execution_role = ExecutionRole(region, params.account.role or default_role(params.account.project, region))
    objects = open_remote_store(bucket)
    files = requests.files_of(bucket, task, run_key(task), code.send(objects, backend), send(objects, task))
    job = _attach_or_start(task, params, files, execution_role, objects)
    try:
        described = watch.wait(job, params.client.poll_seconds)
    except KeyboardInterrupt:
        _handle_interrupt(job, params)
        raise
    _require_completed(job, described, params)
    _delete_checkpoints(objects, files.checkpoints.removeprefix(f"{bucket.uri}/"))


def send(objects: ObjectStore, task: Task) -> str:
    """Upload ``task.json`` and the task's telemetry files for a job, and return the key of ``task.json``."""
    text = dump_task(task)
    folder = f"jobs/{task.digest}/{run_key(task)}/{hashlib.sha256(text).hexdigest()[:16]}"
    telemetry = {file: f"{folder}/{file.relative_to(task.work).as_posix()}" for file in telemetry_files(task)}
    for key, content in [*((key, file.read_bytes()) for file, key in telemetry.items()), (f"{folder}/task.json", text)]:
        with suppress(PreconditionError):  # the first launcher's file stays
            objects.write(key, content, match=ABSENT)
    return f"{folder}/task.json"


def run_key(task: Task) -> str:
    """Return the key of a task's inputs, as used in requests."""
    return requests.run_key((item.record for item in task.inputs), task.replaces)


def telemetry_files(task: Task) -> list[Path]:
    """Return the telemetry files in the task's work folder, which hold the run's command and configuration."""
    return [file for file in sorted((task.work / TELEMETRY).glob("*")) if file.is_file()]


def default_role(project: str, region: str) -> str:
    """Return the ARN of the execution role that ``pokeflow provision`` creates for a project's jobs."""
    return names.here(region).role(names.role(project, "job"))


def _attach_or_start(
    task: Task, params: JobParams, files: Files, execution_role: ExecutionRole, objects: ObjectStore
) -> Job:
    """Return the running job of this very task, even if another process started it, or start a new one.

    A running job of the same task with other inputs is waited for first.
    """
    kind, base = kind_of(params, task.stage), requests.base_name(task)
    while True:
        earlier = jobs.attempts(kind, base, execution_role.region)
        number = earlier[-1][0] if earlier else 0
        if earlier and earlier[-1][2] in RUNNING:
            job = earlier[-1][1]
            if _is_same(job, files):
                log.info("%s: attached to %s %s", task.name, job.label, job.console)
                return job
            log.info("%s: %s runs the same task on other inputs, waiting for its end", task.name, job.label)
            watch.wait(job, params.client.poll_seconds)
            continue
        job = Job(kind, jobs.attempt_name(base, number + 1), execution_role.region)
        body = requests.request(kind, job.name, task, params, files, execution_role)
        try:
            with _job_slot(params, execution_role.region, objects):
                aws.ask(getattr(aws.client("sagemaker", execution_role.region), NAMES[kind].create), job.label, **body)
        except aws.AlreadyExistsError:
            jobs.pause(params.client.poll_seconds)
            continue  # another launcher has created the job: attach to it
        except aws.RefusedError as error:
            raise _explain_role(error, execution_role, params) from error
        machines = f"{requests.instances(params, task.stage)} × {params.instance_type}"
        log.info("%s: %s on %s %s", task.name, job.label, machines, job.console)
        return job


def _is_same(job: Job, files: Files) -> bool:
    return jobs.attempts_uri(job.kind, job.describe()) == files.attempts_uri


@contextmanager
def _job_slot(params: JobParams, region: str, objects: ObjectStore) -> Iterator[None]:
    """Wait until fewer than ``client.at_once`` jobs run; a lease lets one launcher at a time count and start jobs."""
    limit, logged = params.client.at_once, False
    if limit is None:
        yield
        return
    with hold_lease(objects, f"leases/room-{region}", "a job slot (client.at_once)"):
        while len(list(jobs.running(region))) >= limit:
            if not logged:
                log.info("  %d jobs run already (client.at_once), waiting for one to end", limit)
                logged = True
            jobs.pause(params.client.poll_seconds)
        yield


def _explain_role(error: aws.RefusedError, execution_role: ExecutionRole, params: JobParams) -> PokeflowError:
    """Return the error, extended by the origin of the default role if it mentions a role."""
    if "role" not in str(error).lower() or params.account.role:
        return error
    return PokeflowError(
        f"{error} The role {execution_role.role} is the default, created by 'pokeflow provision'. "
        "Set executor.params.account.role to use another."
    )


def _handle_interrupt(job: Job, params: JobParams) -> None:
    """Handle Ctrl-C: leave the job running or stop it, as ``client.interrupted`` or the user says."""
    choice = params.client.interrupted
    if choice == "ask":
        choice = "leave"
        if sys.stdin.isatty() and sys.stderr.isatty():
            print(f"\n{job.label} continues without this process. Stop it? [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
            with suppress(KeyboardInterrupt, EOFError):
                choice = "stop" if input().strip().lower() in ("y", "yes") else "leave"
    if choice == "stop":
        job.stop()
        log.warning("%s: stop requested; its last checkpoint is kept", job.label)
    else:
        log.warning("%s continues: run the same command to attach to it again. %s", job.label, job.console)


def _require_completed(job: Job, described: Mapping[str, Any], params: JobParams) -> None:
    """Raise a PokeflowError unless the job completed, with its failure reason and a remedy.

    Raises:
        UnavailableError: If its instance lacks what the task needs.
        PokeflowError: If it failed otherwise, was stopped, or reached a limit.

    """
    status = described[NAMES[job.kind].status]
    if status == "Completed":
        return
    reason = str(described.get("ExitMessage") or described.get("FailureReason") or "").strip()
    secondary = described.get("SecondaryStatus")
    if secondary == "MaxRuntimeExceeded" or "MaxRuntime" in reason:
        limit = f"took longer than executor.params.time_limit_seconds ({params.time_limit_seconds:,})"
        raise PokeflowError(
            f"{job.label} {limit}. Its checkpoint is kept. Raise the limit and run the same command again."
        )
    if secondary == "MaxWaitTimeExceeded":
        raise PokeflowError(
            f"{job.label} got no spot instances in time. Its checkpoint is kept. Run the same command again, raise "
            "executor.params.spot_wait_seconds, or set it to null for on-demand instances."
        )
    if "CapacityError" in reason or "InsufficientCapacity" in reason:
        raise PokeflowError(
            f"{job.label}: AWS has no capacity for {params.instance_type} ({reason}). Run the same command again "
            "later, or use another executor.params.instance_type or region."
        )
    if status == "Stopped":
        raise PokeflowError(
            f"{job.label} was stopped. Its checkpoint is kept. Run the same command again to resume. {job.console}"
        )
    failure = Failure.loads(_task_message(reason))
    message = f"{failure.message or 'SageMaker reports no reason'} {job.console}"
    raise Failure(message, failure.unavailable).error(
        f"{job.label}: " if failure.unavailable else f"{job.label} failed: "
    )


def _task_message(reason: str) -> str:
    """Return the task's own message, without the text that SageMaker adds around it."""
    inner = reason.removeprefix("AlgorithmError: ")
    message, _, code = inner.rpartition(", exit code: ")
    if code == KILLED and not message:
        return "its process was killed, perhaps because memory ran out. Set a larger executor.params.instance_type."
    return message or inner.removeprefix(", ")


def _delete_checkpoints(objects: ObjectStore, prefix: str) -> None:
    """Delete the checkpoints of a completed task; if that fails, the bucket's lifecycle rules expire them."""
    try:
        for entry in list(objects.list(prefix)):
            objects.delete(entry.key)
    except PokeflowError as error:
        log.info("%s could not be deleted; the bucket's lifecycle rules delete it later: %s", prefix, error)
