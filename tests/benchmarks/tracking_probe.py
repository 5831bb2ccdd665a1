"""Time MLflow in one process: ``python tracking_probe.py search|write|fill …``; prints JSON.

Several may follow one another, as ``search … write …``.

search URI RUNS   open, find an experiment by its name, and search its runs twice
write URI LOCAL EXPERIMENT SECONDS
    log a whole run as a training does, then metrics for so many seconds, and the same to a local SQLite file
fill DATABASE FOLDER RUNS   write an SQLite database with an experiment of so many runs, and the same as in a bucket
"""

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

MANY = "many"
"""Name of the experiment to search."""
PARAMS, TAGS, METRICS, POINTS = 20, 10, 15, 100
"""Numbers of parameters, tags, metrics and points of a run."""
BATCH = 20
WARM = 5
"""Number of warm-up calls."""
PAUSE = 2.5
"""Seconds between two searches, after which the first one's answer no longer counts as fresh."""
FILES = 1 + PARAMS + METRICS + 1
"""Objects of a published run without its artifact: the document, a file a parameter and a metric, the index."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Seconds of a call: its median, its 95th percentile, and the median of this thread's CPU."""

    middle: float
    most: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Logged:
    """Seconds of a whole run until others see all of it, of its end alone, and of single calls."""

    run: float
    end: float
    log_metric: Calls
    log_batch: Calls


@dataclass(frozen=True, slots=True)
class Written:
    """Times of writing, and of the same calls to a local SQLite file, in turn."""

    there: Logged
    local: Logged


@dataclass(frozen=True, slots=True)
class Searched:
    """Seconds of MLflow's import, opening, the first search, and a later one; and the CPU time of the first two."""

    imported: float
    opened: float
    search: float
    again: float
    cpu: float


def imported(uri: str) -> float:
    """Import the modules that MLflow needs for an address, and return the seconds."""
    began = time.perf_counter()
    import_module("mlflow")
    if not uri.startswith("http"):
        import_module("mlflow.store.tracking.sqlalchemy_store")
    return time.perf_counter() - began


def write(uri: str, local: str, experiment: str, seconds: float) -> Written:
    """Log as a training does, to ``uri`` and to a local file in turn, so that a busy machine slows down both."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    clients = [MlflowClient(one, one) for one in (uri, local)]
    numbers = [clients[0].create_experiment(experiment)]
    numbers.append(
        clients[1].create_experiment(experiment, artifact_location=f"{local}.artifacts".removeprefix("sqlite://"))
    )
    took, ends = [], []
    for client, number in zip(clients, numbers, strict=True):
        began = time.perf_counter()
        run, end = whole_run(client, number)
        took.append(time.perf_counter() - began)
        ends.append(end)
        if client is clients[0] and uri.startswith("s3://"):
            _is_published(uri, experiment, run)
    runs = [client.create_run(number).info.run_id for client, number in zip(clients, numbers, strict=True)]

    def metric(one: int, step: int) -> None:
        clients[one].log_metric(runs[one], "loss", 1 / (1 + step), step=step)

    def batch(one: int, step: int) -> None:
        now = int(time.time() * 1000)
        clients[one].log_batch(runs[one], [Metric(f"metric-{n}", step / (n + 1), now, step) for n in range(BATCH)])

    metrics, batches = _in_turn(metric, seconds), _in_turn(batch, seconds)
    return Written(*(Logged(*four) for four in zip(took, ends, metrics, batches, strict=True)))


def whole_run(client: Any, experiment: str, report: bool = True) -> tuple[str, float]:
    """Log a whole run until others can see all of it; return its id, and the seconds of its end."""
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment, run_name="bench").info.run_id
    params = [Param(f"optim.param-{n}", str(n / 7)) for n in range(PARAMS)]
    client.log_batch(run, params=params, tags=[RunTag(f"tag-{n}", f"value {n}") for n in range(TAGS)])
    for step in range(POINTS):
        now = int(time.time() * 1000)
        client.log_batch(run, [Metric(f"val/metric-{n}", step / (n + 1), now, step) for n in range(METRICS)])
    if report:
        client.log_text(run, "a line of a report\n" * 500, "report.md")
    began = time.perf_counter()
    client.set_terminated(run)
    return run, time.perf_counter() - began


def _is_published(uri: str, experiment: str, run: str) -> None:
    from pokeflow.objects import open_uri

    there = open_uri(uri)
    (index,) = (entry.key for entry in there.list(f"{experiment}/.index/runs/"))
    keys = [entry.key for entry in there.list(f"{experiment}/run_{run}/") if "/artifacts/" not in entry.key]
    if not index.endswith(run) or len(keys) + 1 != FILES:
        raise RuntimeError(f"{uri}: of run {run} there are {len(keys)} files, and the index {index}")


def _in_turn(call: Callable[[int, int], None], seconds: float) -> list[Calls]:
    """Alternate a call between both clients, for so many seconds."""
    took: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    until = time.perf_counter() + seconds
    step = 0
    while time.perf_counter() < until or step < WARM + 10:
        for one in (0, 1):
            began, spent = time.perf_counter(), time.thread_time()
            call(one, step)
            if step >= WARM:
                took[one].append(time.perf_counter() - began)
                cpu[one].append(time.thread_time() - spent)
        step += 1
    return [
        Calls(statistics.median(took[one]), statistics.quantiles(took[one], n=20)[-1], statistics.median(cpu[one]))
        for one in (0, 1)
    ]


def search(uri: str, runs: int) -> Searched:
    """Search all runs of an experiment by its name."""
    took = imported(uri)
    from mlflow import MlflowClient

    spent, began = time.process_time(), time.perf_counter()
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(MANY)
    opened = time.perf_counter()
    if experiment is None:
        raise RuntimeError(f"{uri}: there is no experiment {MANY}")
    first = client.search_runs([experiment.experiment_id])
    ended, cpu = time.perf_counter(), time.process_time() - spent
    time.sleep(PAUSE)
    later = time.perf_counter()
    second = client.search_runs([experiment.experiment_id])
    last = time.perf_counter()
    for some in (first, second):
        whole = [r for r in some if (len(r.data.params), len(r.data.metrics)) == (PARAMS, METRICS)]
        if len(whole) != runs:
            raise RuntimeError(f"{uri}: {len(whole)} whole runs were found")
    return Searched(took, opened - began, ended - opened, last - later, cpu)


def fill(database: Path, folder: Path, runs: int) -> dict[str, float]:
    """Log one run by MLflow, and copy its rows with other values for the other runs."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{database}"
    client = MlflowClient(uri, uri)
    whole_run(client, client.create_experiment(MANY, artifact_location=f"s3://bench/{MANY}/{MANY}"), report=False)
    with closing(sqlite3.connect(database)) as rows:
        multiply(rows, runs)
    began = time.perf_counter()
    publish(database, folder)
    return {"published": time.perf_counter() - began}


def multiply(rows: sqlite3.Connection, runs: int) -> None:
    """Copy the only run of a database until there are so many, each with its own values."""
    ((first,),) = rows.execute("SELECT run_uuid FROM runs").fetchall()
    changed = {
        "run_uuid": "printf('%032x', :n)",
        "start_time": "start_time + :n",
        "name": "name || '-' || :n",
        "artifact_uri": f"replace(artifact_uri, '{first}', printf('%032x', :n))",
    }
    values = {"metrics": "value + :n / 1000.0", "latest_metrics": "value + :n / 1000.0", "params": "value || :n"}
    for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
        columns = [name for _, name, *_ in rows.execute(f"PRAGMA table_info({table})")]
        own = {**changed, "value": values.get(table, "value")}
        selected = ", ".join(own.get(column, column) for column in columns)
        statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {selected} FROM {table} WHERE run_uuid = :first"
        rows.executemany(statement, [{"n": n, "first": first} for n in range(1, runs)])
    rows.commit()


def publish(database: Path, folder: Path) -> None:
    """Write a database as pokeflow publishes it, into the folder behind a bucket's prefix."""
    from mlflow_s3_store import _publish as publishing
    from mlflow_s3_store import _replica as replica
    from mlflow_s3_store._working_copy import WorkingCopy
    from pokeflow.objects._folder import Folder
    from pokeflow.objects._transfer import DaemonPool

    class Hasty(Folder):
        """A folder of objects that does not flush its files to disk."""

        def write(self, key: str, data: bytes, *, match: str | None) -> str:
            path = self.path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return key

    with tempfile.TemporaryDirectory() as draft:
        copy = WorkingCopy(Path(draft) / "copy.db", replica._template(replica.cache_folder()), f"s3://bench/{MANY}")
        with copy._connect() as rows:
            rows.execute("ATTACH ? AS stock", (str(database),))
            rows.execute("BEGIN")
            rows.execute("UPDATE pokeflow_state SET importing = 1")  # marked below, per metric instead of per point
            rows.execute("DELETE FROM experiments")
            for table in ("experiments", "runs", "params", "tags", "metrics", "latest_metrics"):
                columns = ", ".join(copy.schema.tables[table].columns)
                rows.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM stock.{table}")
            mark = "INSERT INTO pokeflow_marks SELECT 'runs', run_uuid, {part}, random() FROM {table}"
            rows.execute(mark.format(part="''", table="runs"))
            rows.execute(mark.format(part="key", table="latest_metrics"))
            rows.execute("UPDATE pokeflow_state SET importing = 0")
            rows.execute("COMMIT")
            rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        publishing.publish(replica.Replica(f"s3://bench/{MANY}", Hasty(folder), copy, DaemonPool(1, "fill")))


def main() -> None:
    """Run the commands in the arguments, in order."""
    report: dict[str, Any] = {}
    words = iter(sys.argv[1:])
    for what in words:
        if what == "search":
            report[what] = asdict(search(next(words), int(next(words))))
        elif what == "write":
            report[what] = asdict(write(next(words), next(words), next(words), float(next(words))))
        else:
            report[what] = fill(Path(next(words)), Path(next(words)), int(next(words)))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
