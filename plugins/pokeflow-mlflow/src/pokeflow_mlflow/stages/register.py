"""Registration of a finished model as a version in MLflow's registry, one for each digest and version label."""

import json
import logging
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import File, Input, Record, Result, Task
from pokeflow.gates import all_passed, evaluate
from pokeflow.stages import BENCHMARK
from pokeflow.types import RECORD
from pokeflow_mlflow import gates, mlmodel
from pokeflow_mlflow.address import redact
from pokeflow_mlflow.connection import Connection, connect, upload
from pokeflow_mlflow.params import RegisterParams
from pokeflow_mlflow.pyfunc import EMBEDDING, MATCHES
from pokeflow_vision import index

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

NETWORK = "model.onnx"
JUDGED = ("pokeflow.metric.", "pokeflow.reason.", "pokeflow.gate.", "pokeflow.gates")
VERSIONS = "mlflow.modelVersions"
"""The tag of a logged model that lists its versions."""


def run(task: Task) -> Result:
    """Register the model that the first input produced; an existing version is only brought up to date.

    The facts are also written to ``registration.json``.

    Returns:
        Facts: ``registered_model``, ``registry_version``, ``registry_uri``, ``model_uri`` (the argument of
        ``mlflow.pyfunc.load_model``), ``source``, ``gates`` (a sentence each) and ``alias`` (None if this version
        does not have it).

    """
    params: RegisterParams = task.params
    model, benchmark = task.inputs[0], _benchmark(task)
    benchmark_record = benchmark.record if benchmark else None
    verdicts = evaluate(params.gates, model.record, benchmark_record)
    tags = {**tags_of(task, model.record, benchmark_record), **gates.tags_of(verdicts)}
    description = describe(params, task, model.record, benchmark_record)
    with connect(params.uri, params.registry_uri, endpoint=params.endpoint, region=params.region) as connection:
        client = connection.client
        version = _find(client, task.model, tags) or _create(connection, task, tags, description)
        _update_version(client, version, tags, description)
        has_alias = gates.settle(client, task.model, int(version.version), params.alias, all_passed(verdicts))
    for name, verdict in verdicts.items():
        log.log(logging.INFO if verdict.passed else logging.WARNING, "gate %s %s", name, verdict)
    facts = {
        "registered_model": task.model,
        "registry_version": int(version.version),
        "registry_uri": redact(params.registry_uri or params.uri),
        "model_uri": f"models:/{task.model}/{version.version}",
        "source": redact(version.source),
        "gates": {name: str(verdict) for name, verdict in verdicts.items()},
        "alias": params.alias if has_alias else None,
    }
    (task.output / "registration.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return Result(facts=facts)


def _benchmark(task: Task) -> Input | None:
    return next((item for item in task.inputs if item.record.stage == BENCHMARK), None)


def tags_of(task: Task, record: Record, benchmark: Record | None) -> dict[str, str]:
    """Return the tags that identify a version, and the figures of its benchmark.

    ``pokeflow.record`` and ``pokeflow.producer`` are paths of records below any store's root: the record of this
    registration, which names the version, and the record of the task that produced the model.
    """
    parents = [name.partition(":")[2] for name in record.parents]
    tags: dict[str, Any] = {
        "pokeflow.digest": record.digest,
        "version": task.version,
        "type": task.type,
        "pokeflow.parent": parents[0] if parents else None,
        "pokeflow.parents": json.dumps(dict(record.inputs)),
        "pokeflow.content": record.content,
        "pokeflow.task": record.task,
        "pokeflow.record": f"{task.path}/{RECORD}",
        "pokeflow.producer": f"{record.path}/{RECORD}",
        "pokeflow.answers": default_output(task),
    }
    if benchmark:
        tags |= {f"pokeflow.metric.{name}": value for name, value in benchmark.metrics.items()}
        tags |= {f"pokeflow.reason.{name}": reason for name, reason in benchmark.reasons.items()}
    return {key: redact(str(value)) for key, value in tags.items() if value not in (None, "")}


def default_output(task: Task) -> str | None:
    """Return the default output of the registered model's ``predict``.

    It is ``matches``, without a gallery ``embedding``, and without an ONNX network None.
    """
    paths = {file.path for _, file in _files(task)}
    return None if NETWORK not in paths else MATCHES if index.FILE in paths else EMBEDDING


def _files(task: Task) -> list[tuple[Path, File]]:
    """Return the files to upload, each with its folder: the model, and the gallery that its benchmark wrote."""
    model, benchmark = task.inputs[0], _benchmark(task)
    benchmark_files = [(benchmark.folder, file) for file in benchmark.record.files] if benchmark else []
    gallery = [(folder, file) for folder, file in benchmark_files if file.path == index.FILE]
    # A compiled model has a gallery of its own; the benchmark's gallery replaces it, because that one was measured.
    files = [(model.folder, file) for file in model.record.files if not (gallery and file.path == index.FILE)] + gallery
    return [(folder, f) for folder, f in files if not any(fnmatch(f.path, pattern) for pattern in task.params.without)]


def describe(params: RegisterParams, task: Task, record: Record, benchmark: Record | None) -> str:
    """Return the description for people: ``params.description``, and a sentence built only from the records.

    Args:
        params: The stage's parameters.
        task: The registration.
        record: Record of the task that produced the model.
        benchmark: Record of its benchmark, if it has one.

    """
    facts = record.facts
    parts = [
        f"{task.type} {task.version or ''}".strip(),
        str(facts.get("architecture", "")),
        f"{facts['parameters']:,} parameters" if isinstance(facts.get("parameters"), int) else "",
        f"embeddings of {facts['embedding_dim']}" if "embedding_dim" in facts else "",
        f"produced by {record.stage} with {record.backend}",
        *(
            f"{name} {value:.4g}"
            for name, value in (benchmark.metrics if benchmark else {}).items()
            if value is not None
        ),
    ]
    text = ", ".join(filter(None, parts)) + "."
    return redact(f"{params.description} {text}".strip())


def _find(client: "MlflowClient", name: str, tags: dict[str, str]) -> Any:
    query = f"name = '{name}' and tags.`pokeflow.digest` = '{tags['pokeflow.digest']}'"
    keys = ("version", "pokeflow.content", "pokeflow.answers")
    versions = [v for v in client.search_model_versions(query) if all(v.tags.get(k) == tags.get(k) for k in keys)]
    return min(versions, key=lambda v: int(v.version), default=None)


def _update_version(client: "MlflowClient", version: Any, tags: dict[str, str], description: str) -> None:
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(version.name, version.version, key, value)
    # Tags of an earlier benchmark or of earlier gates.
    for key in version.tags.keys() - tags.keys():
        if key.startswith(JUDGED):
            client.delete_model_version_tag(version.name, version.version, key)
    if version.description != description:
        client.update_model_version(version.name, version.version, description)


def _create(connection: Connection, task: Task, tags: dict[str, str], description: str) -> Any:
    from mlflow.exceptions import MlflowException

    client, params = connection.client, task.params
    model = _logged_model(connection, task)
    try:
        client.create_registered_model(task.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server accepts the source only together with the id. Every other registry is MLflow's SQL one or derived from
    # it, and would look the id up in the process-wide store instead of this one; there the run is enough.
    is_served = (params.registry_uri or params.uri).startswith(("http:", "https:", "arn:"))
    version = client.create_model_version(
        task.model,
        model.artifact_location,
        run_id=model.source_run_id,
        tags=tags,
        description=description,
        model_id=model.model_id if is_served else None,
    )
    _link_version(client, model, version)
    return version


def _link_version(client: "MlflowClient", model: Any, version: Any) -> None:
    """Add the version to the logged model's tag, so that its page links there, as MLflow's own registration does."""
    listed_versions = json.loads(client.get_logged_model(model.model_id).tags.get(VERSIONS, "[]"))
    new_entry = {"name": version.name, "version": version.version}
    if not any(
        str(entry.get("version")) == str(version.version) for entry in listed_versions if entry["name"] == version.name
    ):
        client.set_logged_model_tags(model.model_id, {VERSIONS: json.dumps([*listed_versions, new_entry])})


def _logged_model(connection: Connection, task: Task) -> Any:
    """Return the logged model that holds the files; create it, or complete an interrupted upload, if necessary.

    It belongs to the experiment of the run that produced the model, if that run was tracked.
    """
    from mlflow.entities import LoggedModelStatus

    client, params, record = connection.client, task.params, task.inputs[0].record
    # Another execution of the same task may produce other bytes: these are another model.
    all_tags = {
        "pokeflow.digest": record.digest,
        "pokeflow.content": record.content,
        "pokeflow.answers": default_output(task),
    }
    tags = {key: value for key, value in all_tags.items() if value}
    home = connection.experiment(params.experiment)
    experiments = [str(e.experiment_id) for e in _experiments(client)]
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    models = client.search_logged_models(experiments, query)
    model = next((m for m in models if m.tags.get("pokeflow.answers") == all_tags["pokeflow.answers"]), None)
    if model is None:
        run_query = f"tags.`pokeflow.digest` = '{record.digest}' and attributes.status = 'FINISHED'"
        run = next(iter(client.search_runs(experiments, run_query, max_results=1)), None)
        model = client.create_logged_model(
            run.info.experiment_id if run else home,
            name=task.model,
            source_run_id=run.info.run_id if run else None,
            tags=tags,
            model_type=task.type,
        )
    if model.status != LoggedModelStatus.READY:
        _upload_files(client, model, task)
        _list_with_run(client, model)
        model = client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def _list_with_run(client: "MlflowClient", model: Any) -> None:
    """Add the logged model to the outputs of its run, so that the run's page links to it."""
    from mlflow.entities import LoggedModelOutput

    if model.source_run_id:
        outputs = client.get_run(model.source_run_id).outputs
        if model.model_id not in [output.model_id for output in (outputs.model_outputs if outputs else ())]:
            client.log_outputs(model.source_run_id, [LoggedModelOutput(model.model_id, step=0)])


def _experiments(client: "MlflowClient") -> Iterator[Any]:
    token = None
    while True:
        page = client.search_experiments(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _upload_files(client: "MlflowClient", model: Any, task: Task) -> None:
    def put(file: str, inside: str) -> None:
        client.log_model_artifact(model.model_id, file, inside or None)

    label, files = f"registering {task.model}", _files(task)
    for folder in dict.fromkeys(folder for folder, _ in files):
        upload(label, folder, [file for file_folder, file in files if file_folder == folder], put)
    if output := default_output(task):
        record = task.inputs[0].record
        with tempfile.TemporaryDirectory() as scratch:
            texts = mlmodel.files(model.model_id, model.artifact_location, model.source_run_id, record, output=output)
            for name, text in texts.items():
                (Path(scratch) / name).write_text(text, encoding="utf-8")
                put(str(Path(scratch) / name), "")
