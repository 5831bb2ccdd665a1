"""Job that runs one task on a machine that shares only the bucket; remote executors and pipelines start it.

    python -m pokeflow.engine.job task.json --executor cluster --root /tmp/pokeflow --work /mnt/checkpoints

The task is read from a file, its inputs from the bucket, and the record is committed there, under the task's digest
and under its lease. A second such job reuses it. Under torchrun each process runs the backend; rank 0 commits.
Files in telemetry/ next to the task's file describe its provenance and are added to the telemetry of the result.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from pokeflow import plugins
from pokeflow.engine import _records as records
from pokeflow.engine import worker
from pokeflow.errors import PokeflowError, exit_on_sigterm
from pokeflow.gates import Gate, evaluate, key
from pokeflow.objects import open_remote_store
from pokeflow.store import Store
from pokeflow.store import load as load_record
from pokeflow.types import LOG, TELEMETRY, Backend, Input, Record, RemoteStore, Task

log = logging.getLogger("pokeflow")
POLL_SECONDS, GRACE_SECONDS = 15.0, 30.0
"""Seconds between checks of a process of rank > 0 for the record, and seconds until it is then ended."""
REASON_CHARACTERS = 1000
"""Maximum length of the reason of a failure: services that run jobs keep about this much of it."""
UNBILLED = "the cost is known once the job has ended: the next run that reads this record looks it up"


def dump(task: Task) -> bytes:
    """Serialize a task for ``main``, without this machine's folders, because a job has its own."""
    anywhere = Path("-")
    inputs = tuple(replace(item, folder=anywhere) for item in task.inputs)
    return worker.dump(replace(task, inputs=inputs, work=anywhere, output=anywhere))


def main(args: Sequence[str]) -> int:
    """Run the task; return 0, or 1 with a ``Failure`` as JSON in the file that ``--failure`` names."""
    parser = argparse.ArgumentParser("python -m pokeflow.engine.job", description=__doc__)
    parser.add_argument("task", type=Path, help="the task's file")
    parser.add_argument("--executor", required=True, help="name of the executor that started this job")
    parser.add_argument("--root", type=Path, required=True, help="local folder for inputs and the result")
    parser.add_argument("--work", type=Path, help="folder for checkpoints that outlives this machine")
    parser.add_argument("--environment", action="append", default=[], metavar="KEY=VALUE", help="environment entry")
    parser.add_argument("--verdicts", type=Path, help="file for the verdicts of the task's gates, as JSON")
    parser.add_argument("--failure", type=Path, help="file for the reason of a failure, as JSON")
    options = parser.parse_args(args)
    exit_on_sigterm()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for noisy in ("boto3", "botocore", "s3transfer", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        raw = json.loads(options.task.read_bytes())
        task, backend = worker.load(_with_inputs(raw), plugins.registry(plugins.manager()))
        environment = dict(pair.split("=", 1) for pair in options.environment)
        folders = {"root": options.root, "work": options.work, "telemetry": options.task.parent / TELEMETRY}
        record = run_task(task, backend, executor=options.executor, environment=environment, **folders)
        if record is not None and options.verdicts is not None:
            options.verdicts.parent.mkdir(parents=True, exist_ok=True)
            options.verdicts.write_bytes(msgspec.json.encode(_verdicts(raw["gates"], task, record)))
    except SystemExit:
        raise  # stopped by SIGTERM
    except BaseException as error:  # noqa: BLE001 - any failure is reported to the waiting process
        traceback.print_exc()
        if options.failure is not None:
            _write_failure(options.failure, worker.failure_of(error).dumps(REASON_CHARACTERS))
        return 1
    return 0


def _write_failure(file: Path, reason: str) -> None:
    """Write the reason of a failure, unless another process wrote one: it failed first, and may be the cause."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), file.open("x", encoding="utf-8") as out:
        out.write(reason)


def run_task(
    task: Task,
    backend: Backend,
    *,
    executor: str,
    root: Path,
    work: Path | None = None,
    environment: Mapping[str, str] | None = None,
    telemetry: Path | None = None,
) -> Record | None:
    """Run a task and commit it to the bucket; return its record, or None in a process of rank > 0.

    ``root`` is this machine's store, ``work`` a folder for checkpoints that outlives the machine. ``environment`` is
    added to the record's. Files in the folder ``telemetry`` are added to the telemetry of the result.
    """
    if task.remote_store is None:
        raise PokeflowError(f"{task.name}: the task names no bucket, and a job reads only from one. Set store=s3.")
    store = Store(root, open_remote_store(task.remote_store))
    _require_fingerprint(task, backend)
    if _rank() != 0:
        _run_other_rank(store, task, backend, work)
        return None
    with store.hold_lease(task) as lease:
        if (existing := _existing_record(store, task)) is not None:
            log.info("%s: already finished by %s", task.name, existing.executor)
            return existing
        local_work, output = store.begin(task)
        started, clock = records.now(), time.perf_counter()
        with records.log_file(local_work / LOG):
            task = _with_local_folders(store, task, work or local_work, output)
            if telemetry is not None and telemetry.is_dir():
                shutil.copytree(telemetry, task.work / TELEMETRY, dirs_exist_ok=True)
            log.info("%s: %s on %s", task.name, backend.name, executor)
            records.require_real(task)
            result = worker.run(task, backend)
            records.require_unchanged(store, task, backend)
            lease.require_held()
        seconds = time.perf_counter() - clock
        record = records.build_record(
            task, backend, result, executor=executor, started=started, seconds=seconds, price=None, why=UNBILLED
        )
        record = replace(record, environment={**record.environment, **(environment or {})})
        if work is not None and (work / TELEMETRY).is_dir():
            shutil.copytree(work / TELEMETRY, local_work / TELEMETRY, dirs_exist_ok=True)
        store.commit(output, record)
        store.require_uploaded(record)
    for name, value in record.metrics.items():
        if value is not None:
            log.info("metric %s=%.8g", name, value)
    log.info("%s: done in %.1f s", task.name, seconds)
    return record


def _existing_record(store: Store, task: Task) -> Record | None:
    """Return the existing record that makes the task unnecessary, or None."""
    record = store.load(task)
    expected = {item.record.task: item.record.content for item in task.inputs}
    return record if record and record.started != task.replaces and record.inputs == expected else None


@worker.other_version_faults()
def _with_inputs(raw: dict[str, Any]) -> bytes:
    """Return the task's file with its inputs' records; a file written before these existed has only their keys."""
    keys = [item["key"] for item in raw["inputs"] if "key" in item]
    if keys:
        objects = open_remote_store(msgspec.convert(raw["remote_store"], RemoteStore))
        by_key = {key: load_record(objects, key) for key in keys}
        if missing := [key for key, record in by_key.items() if record is None]:
            raise PokeflowError(f"{raw['stage']}:{raw['model']}: no record yet in {objects.uri}: {', '.join(missing)}.")
        raw = {
            **raw,
            "inputs": [{"record": by_key[i["key"]], "folder": "-"} if "key" in i else i for i in raw["inputs"]],
        }
    return msgspec.json.encode(raw)


def _verdicts(gates: dict[str, Any], task: Task, record: Record) -> dict[str, Any]:
    """Return the verdict of each gate on the model that the task measured or produced, by gate."""
    producing = next((item.record for item in task.inputs if item.record.model == task.model), record)
    verdicts = evaluate(msgspec.convert(gates, dict[str, Gate]), producing, None if producing is record else record)
    return {key(name): {"passed": verdict.passed, "verdict": str(verdict)} for name, verdict in verdicts.items()}


def _with_local_folders(store: Store, task: Task, work: Path, output: Path) -> Task:
    """Return the task with its folders on this machine, after downloading its inputs."""
    work.mkdir(parents=True, exist_ok=True)
    inputs = tuple(Input(item.record, store.fetch(item.record)) for item in task.inputs)
    return replace(task, inputs=inputs, work=work, output=output)


def _run_other_rank(store: Store, task: Task, backend: Backend, work: Path | None) -> None:
    """Run the backend in a process of rank > 0, whose output is discarded.

    If another job finished the task, rank 0 does not run the backend; then this process returns too, or is ended.
    """
    if _existing_record(store, task) is not None:
        return
    threading.Thread(target=_exit_once_finished, args=(store, task), daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "output"
        output.mkdir()
        worker.run(_with_local_folders(store, task, work or Path(scratch), output), backend)


def _exit_once_finished(store: Store, task: Task) -> None:
    """End this process some time after the record exists, because its work is no longer needed."""
    while True:
        time.sleep(POLL_SECONDS)
        with suppress(PokeflowError):
            if _existing_record(store, task) is not None:
                time.sleep(GRACE_SECONDS)
                log.info("%s: finished; process %d exits", task.name, _rank())
                os._exit(0)


def _require_fingerprint(task: Task, backend: Backend) -> None:
    if backend.fingerprint_of(task.params) != task.fingerprint:
        raise PokeflowError(
            f"{task.name}: a file that its parameters name differs from the one on the submitting machine. "
            "Run this task with executor: local."
        )


def _rank() -> int:
    """Return the rank of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
