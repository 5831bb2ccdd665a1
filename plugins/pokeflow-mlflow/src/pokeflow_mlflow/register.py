"""Registering: a finished model as a version in MLflow's registry, one for each digest and version label."""

import json
import platform
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import Input, Record, Result, Task
from pokeflow_mlflow import RegisterParams
from pokeflow_mlflow.address import database, redact
from pokeflow_mlflow.connection import Connection, connect, upload

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAKING = ("train", "distill", "compile")


def run(task: Task) -> Result:
    """Register the model that the first input made; a version that is there already is only brought up to date.

    Leaves ``registration.json``. Facts: ``registered_model``, ``registry_version``, ``registry_uri``,
    ``model_uri`` (what ``mlflow.pyfunc.load_model`` takes) and ``source``.
    """
    params: RegisterParams = task.params
    made, benchmark = task.inputs[0], next((i.record for i in task.inputs if i.record.stage == "benchmark"), None)
    tags, description = tags_of(task, made.record, benchmark), describe(params, task, made.record, benchmark)
    with connect(params.uri, params.registry_uri) as connection:
        client = connection.client
        version = _find(client, task.model, tags) or _create(connection, task, made, tags, description)
        for key, value in tags.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(task.model, version.version, key, value)
        if version.description != description:
            client.update_model_version(task.model, version.version, description)
    facts = {
        "registered_model": task.model,
        "registry_version": int(version.version),
        "registry_uri": redact(params.registry_uri or params.uri),
        "model_uri": f"models:/{task.model}/{version.version}",
        "source": redact(version.source),
    }
    (task.output / "registration.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return Result(facts=facts)


def tags_of(task: Task, made: Record, benchmark: Record | None) -> dict[str, str]:
    """What a version is found and judged by; the figures are the benchmark's."""
    parents = [name.partition(":")[2] for name in made.inputs if name.startswith(tuple(f"{s}:" for s in MAKING))]
    tags: dict[str, Any] = {
        "pokeflow.digest": made.digest,
        "version": task.version,
        "type": task.type,
        "pokeflow.parent": parents[0] if parents else None,
        "pokeflow.parents": json.dumps(dict(made.inputs)),
        "pokeflow.content": made.content,
        "pokeflow.task": made.task,
    }
    if benchmark:
        tags |= {f"pokeflow.metric.{name}": value for name, value in benchmark.metrics.items()}
        tags |= {f"pokeflow.reason.{name}": reason for name, reason in benchmark.reasons.items()}
    return {key: redact(str(value)) for key, value in tags.items() if value not in (None, "")}


def describe(params: RegisterParams, task: Task, made: Record, benchmark: Record | None) -> str:
    """One sentence for people, of what the records say and nothing else."""
    facts = made.facts
    parts = [
        f"{task.type} {task.version or ''}".strip(),
        str(facts.get("architecture", "")),
        f"{facts['parameters']:,} parameters" if isinstance(facts.get("parameters"), int) else "",
        f"embeddings of {facts['embedding_dim']}" if "embedding_dim" in facts else "",
        f"made by {made.stage} with {made.backend}",
        *(
            f"{name} {value:.4g}"
            for name, value in (benchmark.metrics if benchmark else {}).items()
            if value is not None
        ),
    ]
    text = ", ".join(filter(None, parts)) + "."
    return redact(f"{params.description} {text}".strip())


def _find(client: "MlflowClient", name: str, tags: dict[str, str]) -> Any:
    where = f"name = '{name}' and tags.`pokeflow.digest` = '{tags['pokeflow.digest']}'"
    alike = ("version", "pokeflow.content")
    same = [v for v in client.search_model_versions(where) if all(v.tags.get(k) == tags.get(k) for k in alike)]
    return min(same, key=lambda v: int(v.version), default=None)


def _create(connection: Connection, task: Task, made: Input, tags: dict[str, str], description: str) -> Any:
    from mlflow.exceptions import MlflowException

    client, params = connection.client, task.params
    model = _logged_model(connection, task, made)
    try:
        client.create_registered_model(task.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server wants the id, to believe the source. MLflow's own SQL registry would look it up in the
    # process-wide store instead of this one, and there the run is enough.
    model_id = None if database(params.registry_uri or params.uri) else model.model_id
    return client.create_model_version(
        task.model,
        model.artifact_location,
        run_id=model.source_run_id,
        tags=tags,
        description=description,
        model_id=model_id,
    )


def _logged_model(connection: Connection, task: Task, made: Input) -> Any:
    """The model's files in MLflow, beside the run that made it if that was tracked; a half-sent one is completed."""
    from mlflow.entities import LoggedModelStatus

    client, params = connection.client, task.params
    # The same recipe made again may give other bytes: those are another model.
    by_digest = f"tags.`pokeflow.digest` = '{made.record.digest}'"
    by_content = f"{by_digest} and tags.`pokeflow.content` = '{made.record.content}'"
    home = connection.experiment(params.experiment)
    experiments = [str(e.experiment_id) for e in _experiments(client)]
    model = next(iter(client.search_logged_models(experiments, by_content, max_results=1)), None)
    if model is None:
        by_making = f"{by_digest} and attributes.status = 'FINISHED'"
        run = next(iter(client.search_runs(experiments, by_making, max_results=1)), None)
        model = client.create_logged_model(
            run.info.experiment_id if run else home,
            name=task.model,
            source_run_id=run.info.run_id if run else None,
            tags={"pokeflow.digest": made.record.digest, "pokeflow.content": made.record.content},
            model_type=task.type,
        )
    if model.status != LoggedModelStatus.READY:
        _send(client, model.model_id, task, made)
        model = client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def _experiments(client: "MlflowClient") -> Iterator[Any]:
    token = None
    while True:
        page = client.search_experiments(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _send(client: "MlflowClient", model_id: str, task: Task, made: Input) -> None:
    files = [f for f in made.record.files if not any(fnmatch(f.path, pattern) for pattern in task.params.without)]
    upload(
        f"registering {task.model}",
        made.folder,
        files,
        lambda file, inside: client.log_model_artifact(model_id, file, inside or None),
    )
    if any(file.path == "model.onnx" for file in files):
        with tempfile.TemporaryDirectory() as folder:
            about = Path(folder) / "MLmodel"
            about.write_text(mlmodel(model_id, made.record), encoding="utf-8")
            client.log_model_artifact(model_id, str(about))


def mlmodel(model_id: str, made: Record) -> str:
    """What tells MLflow how to load the model: YAML's subset JSON."""
    import mlflow

    # python_function is the flavour that needs pandas to be written by MLflow, but not to be written down.
    flavor = {"loader_module": "pokeflow_mlflow.pyfunc", "python_version": platform.python_version()}
    about = {
        "flavors": {"python_function": flavor},
        "mlflow_version": mlflow.__version__,
        "model_id": model_id,
        "utc_time_created": made.finished,
    }
    return json.dumps(about, indent=2) + "\n"
