"""Creation, update and start of a pipeline on SageMaker, for the generated files and ``pokeflow pipeline``."""

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pokeflow import ConfigError, Fault, PokeflowError
from pokeflow.objects import ObjectStore, open_remote_store
from pokeflow.types import RECORD
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.executor import code
from pokeflow_sagemaker.executor.request import ExecutionRole
from pokeflow_sagemaker.pipelines.steps import Pipeline, RunSettings
from pokeflow_sagemaker.provision import names

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """Result of an upsert: the pipeline's ARN, and the change: created, updated or unchanged."""

    arn: str
    change: str


def main(pipeline: Pipeline, args: Sequence[str] | None = None) -> None:
    """Run the command line of a generated file: print the definition, ``upsert`` or ``start`` the pipeline.

    Args:
        pipeline: The pipeline.
        args: Arguments; None: those of the process. An action (default: print), and ``KEY=VALUE`` for each parameter
            of a started execution.

    """
    words = list(sys.argv[1:] if args is None else args)
    action = words.pop(0) if words and "=" not in words[0] else "print"
    try:
        if action not in ("print", "upsert", "start"):
            raise ConfigError([Fault("action", f"{action!r} is not an action. Known: print, upsert, start.")])
        if bad := [word for word in words if "=" not in word or action != "start"]:
            raise ConfigError([Fault(action, f"unexpected argument {bad[0]!r}. Only start has arguments: KEY=VALUE.")])
        values = dict(word.split("=", 1) for word in words)
        if action == "start":
            parameters(pipeline, values)
        objects = open_objects(pipeline)
        settings = prepare(pipeline, objects)
        if action == "print":
            print(json.dumps(pipeline.definition(settings), indent=2))  # noqa: T201
            return
        result = upsert(pipeline, objects, settings)
        print(f"{result.arn} {result.change}")  # noqa: T201
        if action == "start":
            print(start(pipeline, objects, settings, values))  # noqa: T201
    except PokeflowError as error:
        print(f"{pipeline.name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


def open_objects(pipeline: Pipeline) -> ObjectStore:
    """Open the store that a pipeline's jobs read and write."""
    if pipeline.store is None:
        message = f"{pipeline.name} was generated without a bucket. Generate it again with store=s3."
        raise ConfigError([Fault("store.remote", message)])
    return open_remote_store(pipeline.store)


def prepare(pipeline: Pipeline, objects: ObjectStore) -> RunSettings:
    """Upload the code of a pipeline's jobs, as it is installed here, and return the settings to run it with."""
    assert pipeline.store is not None
    region = aws.region(pipeline.region)
    role = pipeline.job_role or _role(pipeline, region, "job")
    code_prefixes = {plugin: code.send_package(objects, plugin) for plugin in pipeline.plugins()}
    cache = {"CacheConfig": {"Enabled": True, "ExpireAfter": f"P{pipeline.cache_days}D"}}
    return RunSettings(pipeline.store, ExecutionRole(region, role), code_prefixes, cache)


def upsert(pipeline: Pipeline, objects: ObjectStore, settings: RunSettings) -> UpsertResult:
    """Create a pipeline, or update it if its definition or role differs; an equal one stays unchanged."""
    _require_tasks(pipeline, objects)
    client, resource = aws.client("sagemaker", settings.execution_role.region), f"pipeline {pipeline.name}"
    text = json.dumps(pipeline.definition(settings), sort_keys=True)
    role = pipeline.role or _role(pipeline, settings.execution_role.region, "pipeline")
    request = {"PipelineName": pipeline.name, "PipelineDefinition": text, "RoleArn": role}
    description = pipeline.about[:3000]
    try:
        existing = aws.ask(client.describe_pipeline, resource, PipelineName=pipeline.name)
    except aws.NotFoundError:
        token = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        tags = names.tags(pipeline.project)
        try:
            response = aws.ask(
                client.create_pipeline,
                resource,
                **request,
                PipelineDescription=description,
                ClientRequestToken=token,
                Tags=tags,
            )
            return UpsertResult(str(response["PipelineArn"]), "created")
        except aws.AlreadyExistsError:
            existing = aws.ask(client.describe_pipeline, resource, PipelineName=pipeline.name)
    if json.loads(existing["PipelineDefinition"]) == json.loads(text) and existing["RoleArn"] == role:
        return UpsertResult(str(existing["PipelineArn"]), "unchanged")
    aws.ask(client.update_pipeline, resource, **request, PipelineDescription=description)
    return UpsertResult(str(existing["PipelineArn"]), "updated")


def start(pipeline: Pipeline, objects: ObjectStore, settings: RunSettings, arguments: Mapping[str, str]) -> str:
    """Start a pipeline and return the execution's ARN.

    An execution that runs already is returned instead if it has the same parameters and was started after the last
    change of the definition.

    Args:
        pipeline: The pipeline.
        objects: The store.
        settings: The result of ``prepare``.
        arguments: Parameters of the execution.

    """
    values = parameters(pipeline, arguments)
    require_needed(pipeline, objects)
    client, resource = aws.client("sagemaker", settings.execution_role.region), f"pipeline {pipeline.name}"
    modified = aws.ask(client.describe_pipeline, resource, PipelineName=pipeline.name)["LastModifiedTime"]
    listing = {"PipelineName": pipeline.name}
    before = list(aws.pages(client, "list_pipeline_executions", "PipelineExecutionSummaries", resource, **listing))
    for row in before:
        arn = str(row["PipelineExecutionArn"])
        if row["PipelineExecutionStatus"] != "Executing" or row["StartTime"] < modified:
            continue
        rows = aws.pages(
            client, "list_pipeline_parameters_for_execution", "PipelineParameters", resource, PipelineExecutionArn=arn
        )
        if {parameter["Name"]: parameter["Value"] for parameter in rows} == values:
            log.info("%s runs already: %s", resource, arn)
            return arn
    rows_to_send = [{"Name": name, "Value": value} for name, value in values.items()]
    # Concurrent starts have seen the same executions, so they send the same token and AWS starts only one execution.
    state = json.dumps([sorted(row["PipelineExecutionArn"] for row in before), str(modified), rows_to_send])
    token = hashlib.sha256(state.encode()).hexdigest()
    request = {**listing, "PipelineParameters": rows_to_send, "ClientRequestToken": token}
    response = aws.ask(client.start_pipeline_execution, resource, **request)
    return str(response["PipelineExecutionArn"])


def parameters(pipeline: Pipeline, arguments: Mapping[str, str]) -> dict[str, str]:
    """Return an execution's parameters with defaults; raise a ConfigError if a name is unknown or a value missing."""
    from pokeflow.errors import unknown

    defaults = {parameter.name: parameter.default for parameter in pipeline.parameters}
    faults = [unknown(pipeline.name, "parameter", name, defaults) for name in arguments if name not in defaults]
    lacking = [name for name, default in defaults.items() if default is None and name not in arguments]
    faults += [Fault(pipeline.name, f"needs {name}: start {name}=s3://bucket/prefix/") for name in lacking]
    if faults:
        raise ConfigError(faults)
    return {name: arguments.get(name, default or "") for name, default in defaults.items()}


def _require_tasks(pipeline: Pipeline, objects: ObjectStore) -> None:
    """Raise a PokeflowError if a task file is not in the store; ``pokeflow pipeline`` uploads them."""
    for run in pipeline.runs():
        if objects.stat(run.task) is None:
            raise PokeflowError(
                f"{objects.uri}/{run.task} does not exist, but {run.name} needs it. Run 'pokeflow pipeline' with "
                "this store to upload it."
            )


def require_needed(pipeline: Pipeline, objects: ObjectStore) -> None:
    """Raise a PokeflowError if a result that the pipeline needs as input is not in the store."""
    missing = [task for task, key in pipeline.needed if objects.stat(f"{key}/{RECORD}") is None]
    if missing:
        raise PokeflowError(
            f"{', '.join(missing)}: not in {objects.uri} yet, but {pipeline.name} needs it as input. Run "
            "'pokeflow' with this store, or another pipeline, first."
        )


def _role(pipeline: Pipeline, region: str, kind: str) -> str:
    """Return the ARN of a project's role of this kind, as ``pokeflow provision`` names it."""
    return names.here(region).role(names.role(pipeline.project, kind))
