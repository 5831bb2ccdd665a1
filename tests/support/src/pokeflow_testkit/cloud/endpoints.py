"""Models, endpoints and batch transforms: their statuses from Creating to InService, without inference."""

import copy
from typing import Any

from .buckets import check_data, check_image, check_role, list_objects
from .registry import PACKAGE
from .rows import Kind, kind
from .state import AwsError, Row, State, invalid, now, operation

TAKEN = 'Cannot create already existing {kind} "{arn}".'


def _check_model(state: State, row: Row) -> None:
    check_role(state, row.get("ExecutionRoleArn", ""))
    if bool(row.get("PrimaryContainer")) == bool(row.get("Containers")):
        raise invalid("Either PrimaryContainer or Containers must be given, and not both.")
    for container in row.get("Containers") or [row["PrimaryContainer"]]:
        _check_container(state, container, row["ExecutionRoleArn"])


def _check_container(state: State, container: Row, role: str) -> None:
    name = container.get("ModelPackageName")
    if bool(name) == bool(container.get("Image")):
        raise invalid("A container has either an Image or a ModelPackageName.")
    if name:
        package = PACKAGE.find(state, name)
        if package.get("ModelPackageStatus") != "Completed":
            raise invalid(f"Model package {name} is in status {package.get('ModelPackageStatus')}, not Completed.")
        if package.get("ModelApprovalStatus", "Approved") != "Approved":
            raise invalid(f"Cannot create a model from model package {name}: it is not approved.")
        return
    check_image(container["Image"])
    if uri := container.get("ModelDataUrl"):
        check_data(state, uri, role)
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source:
        check_data(state, source["S3Uri"], role)


MODEL = kind(
    Kind(
        "Model",
        "model",
        "ModelName",
        missing=("ValidationException", 'Could not find model "{arn}".'),
        taken=("ValidationException", TAKEN.replace("{kind}", "model")),
        check=_check_model,
    )
)


def _variants(row: Row) -> list[Row]:
    return [*(row.get("ProductionVariants") or ()), *(row.get("ShadowProductionVariants") or ())]


def _check_config(state: State, row: Row) -> None:
    for variant in _variants(row):
        if "ModelName" in variant:
            MODEL.find(state, variant["ModelName"])
        if bool(variant.get("InstanceType")) == bool(variant.get("ServerlessConfig")):
            raise invalid("A production variant has either an InstanceType or a ServerlessConfig.")
        if variant.get("InstanceType") and "InitialInstanceCount" not in variant:
            raise invalid("InitialInstanceCount is required with an InstanceType.")
    names = [variant["VariantName"] for variant in _variants(row)]
    if len(set(names)) < len(names):
        raise invalid("Variant names must be unique.")


CONFIG = kind(
    Kind(
        "EndpointConfig",
        "endpoint-config",
        "EndpointConfigName",
        missing=("ValidationException", 'Could not find endpoint configuration "{arn}".'),
        taken=("ValidationException", TAKEN.replace("{kind}", "endpoint configuration")),
        check=_check_config,
    )
)


def _running(config: Row) -> list[Row]:
    """Return the variants as an endpoint describes them."""
    variants = []
    for variant in config["ProductionVariants"]:
        weight, count = variant.get("InitialVariantWeight", 1.0), variant.get("InitialInstanceCount")
        about: Row = {"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight}
        if count is not None:
            about |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
        if serverless := variant.get("ServerlessConfig"):
            about |= {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
        variants.append(about)
    return variants


def _failing(state: State, config: Row, name: str) -> str:
    """Return why an endpoint's configuration fails, or an empty text if it works."""
    models = [variant.get("ModelName", "") for variant in config["ProductionVariants"]]
    named = {name, config["EndpointConfigName"], *models} & set(state.trouble.fail)
    if named:
        return (
            f"The primary container for production variant {config['ProductionVariants'][0]['VariantName']} did not "
            "pass the ping health check. Please check CloudWatch logs for this endpoint."
        )
    lacking = [v["InstanceType"] for v in config["ProductionVariants"] if state.dice.lacks(v.get("InstanceType", ""))]
    return f"Unable to provision requested ML compute capacity for {lacking[0]}." if lacking else ""


def _check_limits(state: State, config: Row) -> None:
    for variant in _variants(config):
        if variant.get("InstanceType") in state.trouble.limited:
            kind = f"The account-level service limit '{variant['InstanceType']} for endpoint usage' is 0 Instances."
            raise AwsError("ResourceLimitExceeded", kind)


def _check_endpoint(state: State, row: Row) -> None:
    _check_limits(state, CONFIG.find(state, row["EndpointConfigName"]))
    row["EndpointStatus"] = "Creating"


def _becomes(state: State, row: Row, status: str, **more: Any) -> None:
    state.later(
        state.trouble.becoming, lambda: row.update(EndpointStatus=status, LastModifiedTime=now(), **copy.deepcopy(more))
    )


def _start_endpoint(state: State, row: Row) -> None:
    config = CONFIG.find(state, row["EndpointConfigName"])
    if why := _failing(state, config, row["EndpointName"]):
        _becomes(state, row, "Failed", FailureReason=why)
    else:
        variants = _running(config)
        _becomes(state, row, "InService", ProductionVariants=variants, **_settings_of(config))


def _settings_of(config: Row) -> Row:
    """Return the settings besides the variants that an endpoint copies from its configuration."""
    settings = {name: config[name] for name in ("AsyncInferenceConfig", "ExplainerConfig") if name in config}
    if capture := config.get("DataCaptureConfig"):
        settings["DataCaptureConfig"] = {
            "EnableCapture": capture.get("EnableCapture", True),
            "CaptureStatus": "Started",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    return settings


ENDPOINT = kind(
    Kind(
        "Endpoint",
        "endpoint",
        "EndpointName",
        missing=("ValidationException", 'Could not find endpoint "{arn}".'),
        taken=("ValidationException", TAKEN.replace("{kind}", "endpoint")),
        check=_check_endpoint,
        after_create=_start_endpoint,
        operations=("Create", "Describe", "List"),
    )
)


def _free(row: Row, *statuses: str) -> None:
    if row["EndpointStatus"] not in statuses:
        raise invalid(
            f'Cannot update in-progress endpoint "{row["EndpointArn"]}": it is in status {row["EndpointStatus"]}.'
        )


@operation("UpdateEndpoint")
def update_endpoint(state: State, request: Row) -> Row:
    """Change the configuration of an endpoint; a failure is rolled back, and its reason kept."""
    row = ENDPOINT.find(state, request["EndpointName"])
    _free(row, "InService")
    config = CONFIG.find(state, request["EndpointConfigName"])
    _check_limits(state, config)
    before = row["EndpointConfigName"]
    if before == config["EndpointConfigName"]:
        raise invalid(f"Endpoint {row['EndpointName']} already uses endpoint configuration {before}.")
    row |= {"EndpointStatus": "Updating", "LastModifiedTime": now()}
    row.pop("FailureReason", None)
    if "DeploymentConfig" in request:
        row["LastDeploymentConfig"] = request["DeploymentConfig"]
    row["PendingDeploymentSummary"] = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": now()}
    if why := _failing(state, config, ""):

        def back() -> None:
            row.pop("PendingDeploymentSummary", None)
            row.update(EndpointStatus="RollingBack", FailureReason=why)
            _becomes(state, row, "InService", EndpointConfigName=before)

        state.later(state.trouble.becoming, back)
    else:
        news = {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": _running(config)}

        def forward() -> None:
            row.pop("PendingDeploymentSummary", None)
            row.update(EndpointStatus="InService", LastModifiedTime=now(), **news, **_settings_of(config))

        state.later(state.trouble.becoming, forward)
    return row


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights(state: State, request: Row) -> Row:
    """Change weights and instance counts of existing variants."""
    row = ENDPOINT.find(state, request["EndpointName"])
    _free(row, "InService")
    for wanted in request["DesiredWeightsAndCapacities"]:
        variant = next((v for v in row["ProductionVariants"] if v["VariantName"] == wanted["VariantName"]), None)
        if variant is None:
            raise invalid(f"Endpoint {row['EndpointName']} has no variant {wanted['VariantName']}.")
        if "DesiredWeight" in wanted:
            variant |= {"CurrentWeight": wanted["DesiredWeight"], "DesiredWeight": wanted["DesiredWeight"]}
        if "DesiredInstanceCount" in wanted:
            count = wanted["DesiredInstanceCount"]
            variant |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
    row["EndpointStatus"] = "Updating"
    _becomes(state, row, "InService")
    return row


@operation("DeleteEndpoint")
def delete_endpoint(state: State, request: Row) -> Row:
    """Delete an endpoint; it exists until the deletion ends."""
    row = ENDPOINT.find(state, request["EndpointName"])
    _free(row, "InService", "Failed", "OutOfService", "UpdateRollbackFailed")
    row["EndpointStatus"] = "Deleting"
    state.later(state.trouble.becoming, lambda: state.of("Endpoint").pop(row["EndpointName"], None))
    return {}


def _check_transform(state: State, row: Row) -> None:
    MODEL.find(state, row["ModelName"])
    if row["TransformResources"]["InstanceType"] in state.trouble.limited:
        raise AwsError("ResourceLimitExceeded", "The account-level service limit for transform jobs is 0 Instances.")
    row["TransformJobStatus"] = "InProgress"


def _start_transform(state: State, row: Row) -> None:
    uri = row["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    why = ""
    if not list_objects(state, uri):
        why = f"ClientError: No S3 objects found under S3 URL {uri}."
    elif row["TransformJobName"] in state.trouble.fail:
        why = "AlgorithmError: See job logs for more information"
    elif state.dice.lacks(row["TransformResources"]["InstanceType"]):
        why = "CapacityError: Unable to provision requested ML compute capacity. Please retry."

    def end() -> None:
        if row["TransformJobStatus"] == "InProgress":
            row.update(TransformEndTime=now(), TransformJobStatus="Failed" if why else "Completed")
            row.update({"FailureReason": why} if why else {})

    row["TransformStartTime"] = now()
    state.later(state.trouble.becoming, end)


TRANSFORM = kind(
    Kind(
        "TransformJob",
        "transform-job",
        "TransformJobName",
        missing=("ValidationException", "Could not find requested job with name: {name}"),
        taken=("ResourceInUse", "Job name must be unique within an AWS account and region ({arn})"),
        check=_check_transform,
        after_create=_start_transform,
        operations=("Create", "Describe", "List"),
    )
)


@operation("StopTransformJob")
def stop_transform(state: State, request: Row) -> Row:
    """Stop a transform job."""
    row = TRANSFORM.find(state, request["TransformJobName"])
    if row["TransformJobStatus"] != "InProgress":
        raise invalid(f"The transform job is in status {row['TransformJobStatus']}.")
    row["TransformJobStatus"] = "Stopping"
    state.later(0.05, lambda: row.update(TransformJobStatus="Stopped", TransformEndTime=now()))
    return {}
