"""A batch transform job that answers every picture below a prefix, once."""

import itertools
import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from pokeflow import ConfigError, Fault, PokeflowError
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.provision.names import Place
from pokeflow_sagemaker.serving import model, pictures
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import MOST_MB, TransformParams, payload
from pokeflow_sagemaker.serving.pictures import S3Object

log = logging.getLogger("pokeflow")
MOVING = ("InProgress", "Stopping")
ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """A job: its name, which follows from model, pictures and request; and the request but the name."""

    name: str
    request: dict[str, Any]
    found: list[S3Object]
    destination: str


def transform(params: TransformParams, bundle: Bundle) -> dict[str, Any]:
    """Answer every picture, each in an object of its own that ends in ``.out``.

    The same pictures, model and machines are the same job: it is waited for, or, done, found done.

    Returns:
        ``job``, ``changed``, ``pictures``, ``answers``, ``seconds`` and ``cost_usd``; None where it is not known.

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


def _request(params: TransformParams, bundle: Bundle, at: Place) -> TransformRequest:
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
            # The container tells JPEG and PNG apart by their content.
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
    params: TransformParams, bundle: Bundle, at: Place, asked: TransformRequest
) -> tuple[str, dict[str, Any], str]:
    """The job that has answered all, whether it was started now or found: its name, and what AWS tells of it."""
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


def _start(params: TransformParams, bundle: Bundle, at: Place, asked: TransformRequest, name: str) -> None:
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
    """Pictures without an answer. Where in the destination SageMaker puts one differs; its name does not."""
    there = Counter(found.key.rpartition("/")[2] for found in pictures.list_objects(region, asked.destination))
    wanted = Counter(f"{found.key.rpartition('/')[2]}.out" for found in asked.found)
    return sorted(name.removesuffix(".out") for name in (wanted - there).elements())
