"""Start processes that write to one store concurrently; test_faults.py runs ``python crowd.py <spec>``.

``spec`` is JSON: ``uri`` and ``jobs``; each job has ``cache``, the folder of its working copy, and ``do``, one of the
functions below, with its arguments. Jobs are forked from a process that has imported MLflow and opened no store.
Each prints a line of JSON when its work is done, and then exits normally.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from mlflow_s3_store import _stores as stores


def log(client: MlflowClient, run: str, worker: int, points: int) -> None:
    """Add points to a metric shared by all workers and to a metric of this worker."""
    for i in range(points):
        client.log_metric(run, "shared", worker + i / 1e6, 1000 * worker + i, i)
    client.log_batch(run, [Metric(f"own{worker}", i, i, i) for i in range(points)])
    client.set_tag(run, f"worker {worker}", "done")
    client.log_param(run, f"worker {worker}", points)


def create(client: MlflowClient, experiment: str, worker: int, runs: int) -> None:
    """Create runs in an experiment; every worker creates the experiment if it is missing."""
    mlflow.set_tracking_uri(client.tracking_uri)
    number = mlflow.set_experiment(experiment).experiment_id
    for i in range(runs):
        run = client.create_run(number, run_name=f"{worker}-{i}").info.run_id
        client.log_batch(run, [Metric("m", i, i, i)], [Param("worker", str(worker))], [RunTag("i", str(i))])
        client.set_terminated(run)


def register(client: MlflowClient, model: str, worker: int, versions: int) -> None:
    """Create versions of a model and print their numbers; every worker creates the model if it is missing."""
    try:
        client.create_registered_model(model)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    numbers = [
        int(client.create_model_version(model, f"s3://from/{worker}/{i}", tags={"by": f"{worker}-{i}"}).version)
        for i in range(versions)
    ]
    print(json.dumps({"worker": worker, "versions": numbers}), flush=True)


def work(uri: str, job: dict[str, Any]) -> None:
    """Do one job."""
    os.environ["MLFLOW_S3_STORE_CACHE"] = job.pop("cache")
    jobs: dict[str, Callable[..., None]] = {"log": log, "create": create, "register": register}
    jobs[job.pop("do")](MlflowClient(uri, uri), **job)


def main() -> int:
    """Fork a process for every job and return the number of failed ones."""
    spec = json.loads(sys.argv[1])
    assert stores
    children = []
    for job in spec["jobs"]:
        child = os.fork()
        if child == 0:
            work(spec["uri"], job)
            print(json.dumps({"done": True}), flush=True)
            sys.exit(0)
        children.append(child)
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main())
