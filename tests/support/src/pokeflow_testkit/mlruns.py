"""An old MLflow store of every kind, and the contents of a store as MLflow's client returns them, by names.

Run as a program, for a store that this process may not open: ``make <uri>``, ``read <uri>``.
"""

import atexit
import functools
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest

POINTS = 2300
"""More points than MLflow accepts in one call."""
START = 1_700_000_000_000
WEIGHTS = bytes(range(256)) * 40


def make(uri: str) -> None:
    """Fill a store: nested runs, histories with NaN and infinity, data sets, models, versions with a gap, aliases."""
    from mlflow import MlflowClient
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModelInput,
        LoggedModelOutput,
        LoggedModelStatus,
        Metric,
        Param,
        RunTag,
    )  # fmt: skip

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    local = uri.removeprefix("sqlite:///").removesuffix("/mlflow.db")
    base = f"file://{local}/artifacts" if uri.startswith("sqlite") else None
    teachers = client.create_experiment("teachers", base and f"{base}/teachers", tags={"team": "cards", "note": "é ∞"})
    students = client.create_experiment("students", base and f"{base}/students")
    client.create_experiment("empty", base and f"{base}/empty")
    parent = client.create_run(teachers, START, {"mlflow.user": "ada"}, "first").info.run_id
    child = client.create_run(students, START + 5, {"mlflow.parentRunId": parent, "mlflow.user": "bob"}, "child")
    child_id = child.info.run_id
    history = [Metric("train/loss", 1 / (i + 1), START + i, i) for i in range(POINTS)]
    odd = [("odd", float(v), START + i, i - 2) for i, v in enumerate(("nan", "inf", "-inf", "0", "nan"))]
    history += [Metric(*row) for row in odd]
    for i in range(0, len(history), 1000):
        client.log_batch(parent, metrics=history[i : i + 1000])
    params = {"optim/lr": "0.001", "unicode": "Pokémon ✓\nzwei Zeilen", "none": "None"}
    history_tag = json.dumps([{"run_id": parent, "artifact_path": "model"}])
    client.log_batch(
        parent,
        params=[Param(*pair) for pair in params.items()],
        tags=[RunTag("quality", "good"), RunTag("mlflow.log-model.history", history_tag)],
    )
    client.log_text(parent, "hello", "notes/deep/read me.txt")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "weights.bin"
        file.write_bytes(WEIGHTS)
        client.log_artifact(parent, str(file), "checkpoints")
        cards = Dataset("cards", "d1", "local", '{"uri": "s3://old/cards"}', schema="{}", profile='{"rows": 3}')
        client.log_inputs(parent, [DatasetInput(cards, [InputTag("mlflow.data.context", "train")])])
        net = client.create_logged_model(teachers, "net", parent, {"arch": "vit"}, {"dim": "768"}, "embedder")
        client.log_model_artifact(net.model_id, str(file))
    client.finalize_logged_model(net.model_id, LoggedModelStatus.READY)
    client.log_outputs(parent, [LoggedModelOutput(net.model_id, 7)])
    client.log_inputs(child_id, models=[LoggedModelInput(net.model_id)])
    # At step 0, as MLflow's file store reads the step of a figure on a data set as 0.
    client.log_batch(parent, [Metric("top1", 0.5, START + 9, 0, net.model_id, "cards", "d1", parent)])
    client.set_terminated(parent, "FINISHED", START + 9_000)
    client.set_terminated(child_id, "FAILED", START + 8_000)
    client.create_run(students, START + 20, {}, "still running")
    gone = client.create_run(students, START + 30, {}, "deleted").info.run_id
    client.delete_run(gone)
    client.delete_experiment(client.create_experiment("thrown away", base and f"{base}/gone"))
    client.create_registered_model("card-net", {"owner": "ada"}, "recognizes cards")
    source = client.get_run(parent).info.artifact_uri
    for number in range(1, 4):
        about = ({"n": str(number)}, None, f"version {number}")
        if number == 3 and not uri.startswith("http"):
            client.create_model_version("card-net", net.artifact_location, parent, *about, model_id=net.model_id)
        else:
            client.create_model_version("card-net", f"{source}/checkpoints", parent, *about)
    client.delete_model_version("card-net", "2")
    client.set_registered_model_alias("card-net", "champion", "3")
    client.set_registered_model_alias("card-net", "old", "1")


def read(uri: str) -> dict[str, Any]:
    """Return all contents of a store by names, without the tags that a migration added."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiments = [e for e in client.search_experiments() if e.name != "Default"]
    ids = [e.experiment_id for e in experiments]
    runs = {r.info.run_id: client.get_run(r.info.run_id) for i in ids for r in client.search_runs([i], max_results=500)}
    models = {m.model_id: client.get_logged_model(m.model_id) for i in ids for m in client.search_logged_models([i])}
    names = {key: run.info.run_name for key, run in runs.items()} | {m.model_id: m.name for m in models.values()}
    return {
        "experiments": {e.name: _own(e.tags) for e in experiments},
        "runs": sorted((_run(client, uri, run, names) for run in runs.values()), key=json.dumps),
        "models": sorted((_model(uri, model, names) for model in models.values()), key=json.dumps),
        "registry": {m.name: _registered(client, uri, m.name, names) for m in client.search_registered_models()},
    }


def run_names(uri: str) -> dict[str, list[str]]:
    """Return the names of the runs of each experiment that has some."""
    names: dict[str, list[str]] = {}
    for run in read(uri)["runs"]:
        names.setdefault(run["experiment"], []).append(run["about"][0])
    return {name: sorted(runs) for name, runs in names.items()}


def _run(client: Any, uri: str, run: Any, names: dict[str, str]) -> dict[str, Any]:
    info, data = run.info, run.data
    tags = _own(data.tags)
    if "mlflow.parentRunId" in tags:
        tags["mlflow.parentRunId"] = names.get(tags["mlflow.parentRunId"], "not here")
    if "mlflow.log-model.history" in tags:
        tags["mlflow.log-model.history"] = tags["mlflow.log-model.history"].replace(info.run_id, info.run_name)
    return {
        "experiment": client.get_experiment(info.experiment_id).name,
        "about": [info.run_name, info.status, info.start_time, info.end_time, info.user_id],
        "params": dict(sorted(data.params.items())),
        "tags": dict(sorted(tags.items())),
        "metrics": {key: _points(client.get_metric_history(info.run_id, key)) for key in sorted(data.metrics)},
        "data": [[i.dataset.to_dictionary(), sorted([t.key, t.value] for t in i.tags)]
                 for i in run.inputs.dataset_inputs],
        "read": sorted(names[i.model_id] for i in run.inputs.model_inputs),
        "made": sorted([names[o.model_id], o.step] for o in run.outputs.model_outputs),
        "artifacts": files(info.artifact_uri, uri),
    }  # fmt: skip


def _model(uri: str, model: Any, names: dict[str, str]) -> dict[str, Any]:
    rows = [[names[m.run_id], m.key, *_points([m])[0], m.dataset_name, m.dataset_digest] for m in model.metrics or ()]
    return {
        "about": [model.name, model.model_type, str(model.status), names.get(model.source_run_id or "")],
        "params": dict(model.params or {}),
        "tags": {k: v for k, v in _own(model.tags).items() if k != "mlflow.modelVersions"},
        "metrics": sorted(rows),
        "artifacts": files(model.artifact_location, uri),
    }


def _registered(client: Any, uri: str, name: str, names: dict[str, str]) -> dict[str, Any]:
    model = client.get_registered_model(name)
    versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: int(v.version))
    positions = {int(version.version): i for i, version in enumerate(versions)}
    return {
        "about": [model.description, _own(model.tags)],
        # By position, as a gap in the numbers is not migrated.
        "aliases": {alias: positions[int(number)] for alias, number in sorted(model.aliases.items())},
        "versions": [
            [v.description, _own(v.tags), v.current_stage, names.get(v.run_id or ""),
             files(client.get_model_version_download_uri(name, v.version), uri)]
            for v in versions
        ],
    }  # fmt: skip


def _points(history: Any) -> list[list[Any]]:
    """Return the points sorted, with infinity as databases store it."""
    largest = sys.float_info.max
    rows = [(p.timestamp, p.step, math.copysign(largest, p.value) if math.isinf(p.value) else p.value) for p in history]
    return sorted([time, step, repr(value)] for time, step, value in rows)


def _own(tags: Any) -> dict[str, str]:
    by_store = ("mlflow.user", "mlflow.runName")
    return {k: v for k, v in dict(tags).items() if not k.startswith("pokeflow.migrated.") and k not in by_store}


def files(location: str, uri: str) -> dict[str, str]:
    """Return the checksums of all artifacts at a location, by path."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(location, tracking_uri=uri)
    with TemporaryDirectory() as folder:
        if not repository.list_artifacts():
            return {}
        path = Path(repository.download_artifacts("", folder))
        return dict(sorted(_checksums(path)))


def _checksums(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()


def elsewhere(what: str, uri: str) -> Any:
    """Run ``make`` or ``read`` in a separate process, in which MLflow's file store is allowed."""
    allowed = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    command = [sys.executable, "-W", "ignore", __file__, what, uri]
    with TemporaryDirectory() as folder:  # MLflow leaves a database in its current folder
        ran = subprocess.run(
            command, cwd=folder, env={**os.environ, **allowed, **quiet}, capture_output=True, check=False
        )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


Bring = Callable[..., dict[str, Any]]


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    """Return a function that migrates from a source into a target, and returns the report as plain data."""
    from pokeflow_mlflow.migrate.migration import Migration

    def migrate(source: str, uri: str, *, dry_run: bool = False, **more: Any) -> dict[str, Any]:
        migration = Migration(source, uri, tmp_path, **more)
        assert list(migration.check()) == []
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        report = migration.run(work, dry_run=dry_run)
        rows = [asdict(row) for row in report.rows]
        answer = {"rows": rows, "counts": report.counts, "left": report.left, "problems": report.problems}
        plain: dict[str, Any] = json.loads(json.dumps({"from": report.source, "to": report.target, **answer}))
        return plain

    return migrate


@functools.cache
def _filestore() -> tuple[Path, dict[str, Any]]:
    root = Path(mkdtemp(prefix="pokeflow-test-")) / "mlruns"
    atexit.register(shutil.rmtree, root.parent, ignore_errors=True)
    elsewhere("make", str(root))
    return root, elsewhere("read", str(root))


@pytest.fixture
def old_runs() -> Path:
    """Return a folder that MLflow's own file store has written; it is read-only."""
    return _filestore()[0]


@pytest.fixture
def old_contents() -> dict[str, Any]:
    """Return the contents of that folder, as read by MLflow's own file store."""
    return _filestore()[1]


def handmade(root: Path, home: str = "/home/before/mlruns") -> Path:
    """Write the file store of an old MLflow that was moved: its addresses are outdated, and ids repeat."""
    text = {
        "1/meta.yaml": f"artifact_location: file://{home}/1\nexperiment_id: '1'\nname: teacher-runs\n",
        "2/meta.yaml": f"artifact_location: {home}/2\nexperiment_id: '2'\nname: students\n",
        ".trash/9/meta.yaml": "experiment_id: '9'\nname: gone\nlifecycle_stage: deleted\n",
        "models/card/meta.yaml": "name: card\n",
        "models/card/version-4/meta.yaml": f"name: card\nversion: 4\nrun_id: a1\n"
        f"source: {home}/1/a1/artifacts/model\ncurrent_stage: Production\n",
    }
    for experiment in ("1", "2"):
        for run in ("a1", "b2", "c3"):
            base, scheme = f"{experiment}/{run}", "file://" if experiment == "1" else ""
            stage = "deleted" if (experiment, run) == ("2", "c3") else "active"
            text[f"{base}/meta.yaml"] = (
                f"artifact_uri: {scheme}{home}/{base}/artifacts\nexperiment_id: '{experiment}'\n"
                f"end_time: 1768000000000\nlifecycle_stage: {stage}\nrun_uuid: {run}\nsource_version: ''\n"
                "start_time: 1767000000000\nstatus: 3\n"
            )
            text[f"{base}/metrics/loss"] = "1768000000000 0.5 0\n1768000000001 0.25 1\n1768000000001 0.25 1\n"
            text[f"{base}/metrics/old"] = "1768000000000 0.5\n"
            text[f"{base}/params/lr"] = "0.001"
            text[f"{base}/tags/mlflow.runName"] = f"{experiment}-{run}"
            text[f"{base}/artifacts/model/weights.bin"] = f"weights of {base}"
    for path, content in text.items():
        file = root / "mlruns" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root / "mlruns"


if __name__ == "__main__":
    answer = make(sys.argv[2]) if sys.argv[1] == "make" else read(sys.argv[2])  # type: ignore[func-returns-value]
    print(json.dumps(answer))
