"""Stage ``register``: registers a finished model as a model package, one for each version label and content."""

import logging
from typing import Any

from pokeflow import Input, PokeflowError, Record, Result, Task, load_record
from pokeflow.gates import evaluate
from pokeflow.objects import NotFoundError, ObjectStore, open_remote_store, open_uri
from pokeflow.stages import BENCHMARK, PREPARE
from pokeflow.types import RECORD
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import images
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.registry import card, lineage, packages
from pokeflow_sagemaker.registry.about import Registration, encode_json, metadata, quality
from pokeflow_sagemaker.registry.params import RegisterParams

log = logging.getLogger(__name__)

ARCHIVE, QUALITY = "model.tar.gz", "model_quality.json"
ANSWER = ["application/json"]


def run(task: Task) -> Result:
    """Register the model of the first input, or update its model package if it is registered already.

    The model package is created after everything but the lineage artifact's pointer to it, so that a failure before
    leaves nothing that looks registered. The next attempt finds and reuses what this one created.

    Writes ``registration.json``, the model card and the metrics.

    Returns:
        Facts ``model_package_arn``, ``model_package_group``, ``model_package_version``, ``approval``, ``gates`` (a
        sentence each), ``artifact_arn``, ``source`` and ``lineage_gaps``.

    """
    params: RegisterParams = task.params
    objects, records = _bucket(task), [item.record for item in task.inputs]
    registration = _registration(task, objects)
    client = aws.client("sagemaker", params.region)

    walk = lineage.Walk(client, objects, params.project, records)
    artifact = walk.up(registration.model_record)
    packages.ensure_group(client, registration.group, params.project)
    package = packages.settle(client, registration, artifact, _extra(params, registration, objects))
    lineage.point_to(client, artifact, registration.version, package.arn)

    for name, verdict in registration.verdicts.items():
        log.log(logging.INFO if verdict.passed else logging.WARNING, "gate %s %s", name, verdict)
    facts = {
        "model_package_arn": package.arn,
        "model_package_group": registration.group,
        "model_package_version": package.number,
        "approval": package.approval,
        "gates": {name: str(verdict) for name, verdict in registration.verdicts.items()},
        "artifact_arn": artifact,
        "source": registration.uri,
        "lineage_gaps": walk.gaps,
    }
    files = {"registration.json": facts, "model_card.json": card.build(registration)}
    if registration.benchmark:
        files[QUALITY] = quality(registration.benchmark)
    for name, content in files.items():
        (task.output / name).write_text(encode_json(content, indent=2) + "\n", encoding="utf-8")
    return Result(facts=facts)


def _registration(task: Task, objects: ObjectStore) -> Registration:
    params: RegisterParams = task.params
    model_record, benchmark, bundle = task.inputs[0].record, _input_of(task, BENCHMARK), _input_of(task, "bundle")
    source_record = bundle.record if bundle else model_record
    _require_shared(task, objects, source_record)
    return Registration(
        group=params.group or names.group(params.project),
        model=task.model,
        version=task.version,
        type=task.type,
        record=f"{task.path}/{RECORD}",
        model_record=model_record,
        benchmark=benchmark.record if benchmark else None,
        bundle=bundle.record if bundle else None,
        uri=lineage.folder(objects, source_record) + (ARCHIVE if bundle else ""),
        image=images.address(params.image, aws.region(params.region)) if bundle else None,
        verdicts=evaluate(params.gates, model_record, benchmark.record if benchmark else None),
        description=params.description,
        data=tuple(lineage.folder(objects, item.record) for item in task.inputs if item.record.stage == PREPARE),
    )


def _input_of(task: Task, stage: str) -> Input | None:
    return next((item for item in task.inputs if item.record.stage == stage), None)


def _bucket(task: Task) -> ObjectStore:
    """Open the bucket in the parameters, with the store's own settings if it is the store's bucket."""
    params: RegisterParams = task.params
    if not params.remote:
        raise PokeflowError(f"{task.name}: SageMaker reads models from a bucket. Set store=s3.")
    store = task.remote_store
    if store is None or store.uri != params.remote.rstrip("/"):
        return open_uri(params.remote, region=params.region, encryption=None)
    return open_remote_store(store)


def _require_shared(task: Task, objects: ObjectStore, record: Record) -> None:
    """Raise a PokeflowError if the bucket lacks the record or one of its files, or has other content."""
    path = record.path
    remote_record = load_record(objects, path)
    if remote_record is None or remote_record.content != record.content:
        fault = "does not exist" if remote_record is None else "has other content"
        raise PokeflowError(
            f"{task.name}: {objects.uri}/{path} {fault}, and SageMaker reads it from the bucket. "
            f"Run the same command again to upload {record.task} first."
        )
    for file in record.files:
        info = objects.stat(f"{path}/{file.path}")
        if info is None or info.size != file.size or info.sha256 not in (None, file.sha256):
            raise PokeflowError(
                f"{task.name}: {objects.uri}/{path}/{file.path} differs from its record. Remove "
                f"{objects.uri}/{path}/{RECORD} and run the same command again to upload it."
            )


def _extra(params: RegisterParams, registration: Registration, objects: ObjectStore) -> dict[str, Any]:
    """Return the parts of the request that can be set at creation only: inference, metrics, metadata."""
    extra: dict[str, Any] = {"MetadataProperties": metadata(registration, params.project_id)}
    if registration.benchmark:
        address = f"registry/{registration.group}/{registration.key}/{QUALITY}"
        _write(objects, address, (encode_json(quality(registration.benchmark), indent=2) + "\n").encode())
        statistics = {"ContentType": ANSWER[0], "S3Uri": f"{objects.uri}/{address}"}
        extra["ModelMetrics"] = {"ModelQuality": {"Statistics": statistics}}
    if registration.bundle is None:
        # AWS accepts SourceUri only for models that it cannot serve: never together with an inference specification.
        return extra | {"SourceUri": registration.uri}
    types = registration.bundle.facts.get("content_types")
    extra["InferenceSpecification"] = {
        "Containers": [{"Image": registration.image, "ModelDataUrl": registration.uri}],
        "SupportedContentTypes": [str(t) for t in types] if isinstance(types, list | tuple) else ["image/jpeg"],
        "SupportedResponseMIMETypes": ANSWER,
        "SupportedTransformInstanceTypes": list(params.transform),
        "SupportedRealtimeInferenceInstanceTypes": list(params.realtime),
    }
    # AWS's validation would start a paid instance; the container's responses are covered by the bundle's own tests.
    return extra | {"SkipModelValidation": "All"}


def _write(objects: ObjectStore, key: str, data: bytes) -> None:
    """Write an object unless it has the same content already."""
    try:
        if objects.read(key)[0] == data:
            return
    except NotFoundError:
        pass
    objects.write(key, data, match=None)
