"""Batch transform job that recognises every image below a prefix, once."""

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
from pokeflow_sagemaker.serving.params import MOST_MB, TransformParams, payload
from pokeflow_sagemaker.serving.pictures import S3Object

log = logging.getLogger("pokeflow")
MOVING = ("InProgress", "Stopping")
ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """A transform job: its name, which contains a hash of request and images, and the request without the name."""

    name: str
    request: dict[str, Any]
    found: list[S3Object]
    destination: str


def transform(params: TransformParams, bundle: Bundle) -> dict[str, Any]:
    """Recognise every image below the source; each response is an object of its own that ends in ``.out``.

    The same images, model and instances lead to the same job: if it exists it is waited for or reused.

    Returns:
        ``job``, ``changed``, ``pictures`` (their number), ``answers`` (URI), ``seconds`` and ``cost_usd``; the last two
        are None if they are not known.

    """
    at = model.where(bundle.shared, params.account)
    asked = _request(params, bundle, at)
    job, row, changed = _complete(params, bundle, at, asked)
    began, ended = row.get("TransformStartTime"), row.get("TransformEndTime")
    seconds = (ended - began).total_seconds() if began and ended else None
    price = prices.hourly(params.instance_type, at.region, params.prices)
    return {
        "job": job,
        "changed": changed,
        "pictures": len(asked.found),
        "answers": asked.destination,
        "seconds": seconds,
        "cost_usd": None if seconds is None or price.usd is None else price.usd * params.instances * seconds / 3600,
    }


def _request(params: TransformParams, bundle: Bundle, at: AccountRegion) -> TransformRequest:
    source, destination = (f"{place.rstrip('/')}/" if place else "" for place in (params.source, params.destination))
    if not source or not destination:
        missing = "source" if not source else "destination"
        raise ConfigError([Fault(missing, "is missing: pokeflow transform s3://bucket/pictures/ s3://bucket/answers/")])
    if destination.startswith(source):
        raise ConfigError(
            [Fault("destination", f"{destination} lies below {source}: answers would pass for pictures.")]
        )
    most = int(bundle.record.params["max_bytes"])
    found = pictures.list_pictures(at.region, source, min(most, MOST_MB * 1_000_000))
    payload_mb, at_once = payload(most, params.at_once)
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
    content = [request, sorted((f.key, f.etag) for f in found)]
    name = model.name_by_content(model.base(params.account.project, bundle.record.model)[:42].rstrip("-"), content)
    return TransformRequest(name, request, found, destination)


def _complete(
    params: TransformParams, bundle: Bundle, at: AccountRegion, asked: TransformRequest
) -> tuple[str, dict[str, Any], str]:
    """Return a completed job with responses to all images; start one if none exists.

    Returns:
        The job's name, AWS's description of it, and "made" or "nothing" for the change.

    Raises:
        PokeflowError: if the job fails, or leaves images without a response.

    """
    for number in itertools.count(1):
        name = asked.name if number == 1 else f"{asked.name}-{number}"
        found, changed = _settled(at.region, name), "nothing"
        if found is None:
            _start(params, bundle, at, asked, name)
            found, changed = _settled(at.region, name), "made"
        if found is None:
            raise PokeflowError(f"transform job {name}: it is gone. Run this again.")
        if found["TransformJobStatus"] == "Completed":
            if not (missing := _without_answer(at.region, asked)):
                return name, found, changed
            if changed == "made":
                shown = ", ".join(missing[: pictures.SHOWN])
                raise PokeflowError(f"transform job {name}: it is Completed, but these have no answer: {shown}.")
            log.info("transform job %s: its answers are not there any more", name)
        elif changed == "made":
            raise PokeflowError(
                f"transform job {name}: {found['TransformJobStatus']}. AWS says: "
                f"{aws.clean(str(found.get('FailureReason') or 'nothing about why'))} Its log is CloudWatch's log "
                f"group /aws/sagemaker/TransformJobs, streams {name}/…: what the container says of each picture. "
                "Mend that and run this again: another job begins."
            )
        if number == ATTEMPTS:
            raise PokeflowError(f"transform job {asked.name}: {ATTEMPTS} attempts came to nothing. Look into the last.")
    raise AssertionError


def _start(params: TransformParams, bundle: Bundle, at: AccountRegion, asked: TransformRequest, name: str) -> None:
    price = prices.hourly(params.instance_type, at.region, params.prices)
    costs = f"about ${price.usd * params.instances:,.2f} an hour" if price.usd is not None else price.source
    machines = f"{params.instances} × {params.instance_type}"
    log.info("transform job %s: %d pictures on %s, %s", name, len(asked.found), machines, costs)
    sagemaker = aws.client("sagemaker", at.region)
    request = {"TransformJobName": name, **asked.request, "Tags": model.tags(bundle, params.account)}
    try:
        aws.ask(sagemaker.create_transform_job, f"transform job {name}", **request)
    except aws.AlreadyExistsError:
        log.info("transform job %s: another has started it this moment", name)


def _settled(region: str, name: str) -> dict[str, Any] | None:
    sagemaker, what = aws.client("sagemaker", region), f"transform job {name}"
    look = partial(aws.find, sagemaker.describe_transform_job, what, TransformJobName=name)
    found = waiting.until_settled(look, "TransformJobStatus", MOVING, what, patience=86_400)
    return None if found is None else dict(found)


def _without_answer(region: str, asked: TransformRequest) -> list[str]:
    """Return the names of images without a response.

    Responses are matched by file name alone, since SageMaker's folder for them below the destination varies.
    """
    there = Counter(found.key.rpartition("/")[2] for found in pictures.list_objects(region, asked.destination))
    wanted = Counter(f"{found.key.rpartition('/')[2]}.out" for found in asked.found)
    return sorted(name.removesuffix(".out") for name in (wanted - there).elements())
