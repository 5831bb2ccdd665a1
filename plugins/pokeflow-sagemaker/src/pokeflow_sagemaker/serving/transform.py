"""Batch transform job that recognizes every image below a prefix, once."""

import itertools
import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from pokeflow import ConfigError, Fault, PokeflowError
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.provision.names import AccountRegion
from pokeflow_sagemaker.serving import model, pictures
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import MAX_MB, TransformParams, payload
from pokeflow_sagemaker.serving.pictures import S3Object

log = logging.getLogger("pokeflow")
MOVING = ("InProgress", "Stopping")
ATTEMPTS = 50
LOGS = "/aws/sagemaker/TransformJobs"


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """A transform job: its name, which contains a hash of request and images, and the request without the name."""

    name: str
    request: dict[str, Any]
    objects: list[S3Object]
    destination: str


def transform(params: TransformParams, bundle: Bundle) -> dict[str, Any]:
    """Recognize every image below the source; each response is an object of its own that ends in ``.out``.

    The same images, model and instances lead to the same job: if it exists it is waited for or reused.

    Returns:
        ``job``, ``change``, ``pictures`` (their number), ``answers`` (URI), ``seconds`` and ``cost_usd``; the last two
        are None if they are not known.

    """
    at = model.account_region(bundle.remote_store, params.account)
    job_request = _request(params, bundle, at)
    job, row, change = _complete(params, bundle, at, job_request)
    began, ended = row.get("TransformStartTime"), row.get("TransformEndTime")
    seconds = (ended - began).total_seconds() if began and ended else None
    price = prices.hourly(params.instance_type, at.region, params.prices)
    return {
        "job": job,
        "changed": change,
        "pictures": len(job_request.objects),
        "answers": job_request.destination,
        "seconds": seconds,
        "cost_usd": None if seconds is None or price.usd is None else price.usd * params.instances * seconds / 3600,
    }


def _request(params: TransformParams, bundle: Bundle, at: AccountRegion) -> TransformRequest:
    source, destination = (f"{uri.rstrip('/')}/" if uri else "" for uri in (params.source, params.destination))
    if not source or not destination:
        missing = "source" if not source else "destination"
        raise ConfigError([Fault(missing, "is missing: pokeflow transform s3://bucket/images/ s3://bucket/responses/")])
    if destination.startswith(source):
        message = f"{destination} is below {source}, so responses would be read as images. Choose another destination."
        raise ConfigError([Fault("destination", message)])
    max_bytes = int(bundle.record.params["max_bytes"])
    objects = pictures.list_pictures(at.region, source, min(max_bytes, MAX_MB * 1_000_000))
    payload_mb, at_once = payload(max_bytes, params.at_once)
    runs = model.ensure(bundle, at, params.account, params.network, params.image, "auto")
    key = {"KmsKeyId": params.account.kms_key} if params.account.kms_key else {}
    machines: dict[str, Any] = {"InstanceType": params.instance_type, "InstanceCount": params.instances}
    request = {
        "ModelName": runs,
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": payload_mb,
        "MaxConcurrentTransforms": at_once,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 3},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            # Also for PNG: the container detects the format from the content.
            "ContentType": "image/jpeg",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {"S3OutputPath": destination, "Accept": "application/json", "AssembleWith": "None", **key},
        "TransformResources": machines | ({"VolumeKmsKeyId": params.account.kms_key} if key else {}),
    }
    content = [request, sorted((f.key, f.etag) for f in objects)]
    name = model.name_by_content(model.base(params.account.project, bundle.record.model)[:42].rstrip("-"), content)
    return TransformRequest(name, request, objects, destination)


def _complete(
    params: TransformParams, bundle: Bundle, at: AccountRegion, job_request: TransformRequest
) -> tuple[str, dict[str, Any], str]:
    """Return a completed job with responses to all images; start one if none exists.

    Returns:
        The job's name, AWS's description of it, and "created" or "nothing" for the change.

    Raises:
        PokeflowError: If the job fails, or leaves images without a response.

    """
    for number in itertools.count(1):
        name = job_request.name if number == 1 else f"{job_request.name}-{number}"
        description, change = _wait_until_settled(at.region, name), "nothing"
        if description is None:
            _start(params, bundle, at, job_request, name)
            description, change = _wait_until_settled(at.region, name), "created"
        if description is None:
            raise PokeflowError(f"transform job {name}: was deleted during the wait. Run the same command again.")
        if description["TransformJobStatus"] == "Completed":
            if not (missing := _unanswered_pictures(at.region, job_request)):
                return name, description, change
            if change == "created":
                examples = ", ".join(missing[: pictures.MAX_LISTED])
                raise PokeflowError(
                    f"transform job {name}: it completed, but these images have no response: {examples}. Check its log "
                    f"in CloudWatch's log group {LOGS}, streams {name}/…, and run the same command again."
                )
            log.info("transform job %s: its responses were deleted; running it again", name)
        elif change == "created":
            raise PokeflowError(
                f"transform job {name}: {description['TransformJobStatus']}. AWS says: "
                f"{aws.clean(str(description.get('FailureReason') or 'no reason'))} Its log is CloudWatch's "
                f"log group {LOGS}, streams {name}/…. "
                "Correct the cause and run the same command again to start another job."
            )
        if number == ATTEMPTS:
            raise PokeflowError(
                f"transform job {job_request.name}: {ATTEMPTS} attempts failed. Correct the cause (CloudWatch's log "
                f"group {LOGS}, streams {name}/…), or set another destination to begin anew."
            )
    raise AssertionError


def _start(
    params: TransformParams, bundle: Bundle, at: AccountRegion, job_request: TransformRequest, name: str
) -> None:
    price = prices.hourly(params.instance_type, at.region, params.prices)
    costs = f"about ${price.usd * params.instances:,.2f} per hour" if price.usd is not None else price.source
    machines = f"{params.instances} × {params.instance_type}"
    log.info("transform job %s: %d images on %s, %s", name, len(job_request.objects), machines, costs)
    sagemaker = aws.client("sagemaker", at.region)
    request = {"TransformJobName": name, **job_request.request, "Tags": model.tags(bundle, params.account)}
    try:
        aws.ask(sagemaker.create_transform_job, f"transform job {name}", **request)
    except aws.AlreadyExistsError:
        log.info("transform job %s: another process started it at the same time", name)


def _wait_until_settled(region: str, name: str) -> dict[str, Any] | None:
    sagemaker, resource = aws.client("sagemaker", region), f"transform job {name}"
    look = partial(aws.find, sagemaker.describe_transform_job, resource, TransformJobName=name)
    description = waiting.until_settled(look, "TransformJobStatus", MOVING, resource, patience=86_400)
    return None if description is None else dict(description)


def _unanswered_pictures(region: str, job_request: TransformRequest) -> list[str]:
    """Return the names of images without a response.

    Responses are matched by file name alone, since SageMaker's folder for them below the destination varies.
    """
    responses = Counter(item.key.rpartition("/")[2] for item in pictures.list_objects(region, job_request.destination))
    expected = Counter(f"{item.key.rpartition('/')[2]}.out" for item in job_request.objects)
    return sorted(name.removesuffix(".out") for name in (expected - responses).elements())
