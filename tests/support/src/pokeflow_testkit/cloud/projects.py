"""SageMaker's projects, with stacks from their templates."""

from typing import Any

from . import stacks
from .rows import Kind, kind
from .state import ACCOUNT, AwsError, Row, State, invalid, now, operation, unique

NAME = "SageMakerProjectName"
IDENTITY = "SageMakerProjectId"


def _backend(state: State) -> Any:
    from moto.cloudformation.models import cloudformation_backends

    return cloudformation_backends[ACCOUNT][state.region]


def _parameters(row: Row, provider: Row) -> dict[str, str]:
    own = {NAME: row["ProjectName"], IDENTITY: row["ProjectId"]}
    return own | {p["Key"]: p.get("Value", "") for p in provider.get("Parameters") or ()}


def _template(state: State, row: Row, provider: Row) -> str:
    from moto.cloudformation.utils import get_stack_from_s3_url

    request = {"TemplateURL": provider["TemplateURL"], "RoleARN": provider.get("RoleARN")}
    request["Parameters"] = [{"ParameterKey": key} for key in _parameters(row, provider)]
    stacks.check({**request, "Capabilities": ["CAPABILITY_NAMED_IAM"]}, "CreateStack", state)
    return str(get_stack_from_s3_url(provider["TemplateURL"], ACCOUNT, "aws"))


def _providers(request: Row, member: str) -> list[Row]:
    return [dict(p["CfnTemplateProvider"]) for p in request.get(member) or () if p.get("CfnTemplateProvider")]


def _check(state: State, row: Row) -> None:
    row |= {"ProjectId": f"p-{unique()}", "ProjectStatus": "CreateInProgress"}
    providers = _providers(row, "TemplateProviders")
    if bool(providers) == bool(row.get("ServiceCatalogProvisioningDetails")):
        raise invalid("Either TemplateProviders or ServiceCatalogProvisioningDetails must be given.")
    if not providers:
        raise AwsError("NotInTheTestCloud", "Projects of Service Catalog: add them to pokeflow_testkit/cloud")
    if len(providers) > 1:
        raise invalid("One template provider can be given.")


def _create_stacks(state: State, row: Row) -> None:
    details = [_stack(state, row, provider) for provider in _providers(row, "TemplateProviders")]
    row["TemplateProviderDetails"] = [{"CfnTemplateProviderDetail": detail} for detail in details]
    good = all(detail["StackDetail"]["StatusMessage"] == "CREATE_COMPLETE" for detail in details)
    status = "CreateCompleted" if good else "CreateFailed"
    state.later(state.trouble.becoming, lambda: row.update(ProjectStatus=status, LastModifiedTime=now()))


def _stack(state: State, row: Row, provider: Row) -> Row:
    """Create a provider's stack, and return its details."""
    try:
        body = _template(state, row, provider)
        tags = {"sagemaker:project-name": row["ProjectName"], "sagemaker:project-id": row["ProjectId"]}
        name = f"sagemaker-{row['ProjectId']}"
        stack = _backend(state).create_stack(name, body, _parameters(row, provider), tags=tags)
    except Exception as error:  # noqa: BLE001 - any error fails the project
        return {**provider, "StackDetail": {"StatusMessage": f"CREATE_FAILED: {error}"}}
    return {**provider, "StackDetail": _detail(stack)}


def _detail(stack: Any) -> Row:
    why = getattr(stack, "stack_status_reason", "")
    said = stack.status if stack.status.endswith(("CREATE_COMPLETE", "UPDATE_COMPLETE")) else f"{stack.status}: {why}"
    return {"Name": stack.name, "Id": stack.stack_id, "StatusMessage": said}


def _stacks(state: State, row: Row) -> list[tuple[Row, Any]]:
    details = [d["CfnTemplateProviderDetail"] for d in row["TemplateProviderDetails"]]
    return [(d, _backend(state).get_stack(d["StackDetail"]["Id"])) for d in details if "Id" in d["StackDetail"]]


def _busy(row: Row) -> None:
    if row["ProjectStatus"].endswith("InProgress"):
        raise AwsError("ConflictException", f"Project {row['ProjectName']} is in status {row['ProjectStatus']}.")


def _update(state: State, row: Row, request: Row) -> None:
    _busy(row)
    providers = _providers(request, "TemplateProvidersToUpdate")
    request.pop("TemplateProvidersToUpdate", None)
    good = True
    for provider in providers:
        known = next((d for d, _ in _stacks(state, row) if d["TemplateName"] == provider["TemplateName"]), None)
        if known is None:
            raise invalid(f"Project {row['ProjectName']} has no template {provider['TemplateName']}.")
        known |= {k: v for k, v in provider.items() if k in ("TemplateURL", "Parameters")}
        body = _template(state, row, known)
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in _parameters(row, known).items()]
        stack = _backend(state).update_stack(known["StackDetail"]["Id"], body, None, parameters, None)
        known["StackDetail"] = _detail(stack)
        good &= bool(stack.status == "UPDATE_COMPLETE")
    row["ProjectStatus"] = "UpdateInProgress"
    status = "UpdateCompleted" if good else "UpdateFailed"
    state.later(state.trouble.becoming, lambda: row.update(ProjectStatus=status))


PROJECT = kind(
    Kind(
        "Project",
        "project",
        "ProjectName",
        missing=("ValidationException", "Project {name} does not exist."),
        taken=("ValidationException", "Project {name} already exists."),
        check=_check,
        after_create=_create_stacks,
        changed=_update,
        operations=("Create", "Describe", "Update", "List"),
    )
)


@operation("DeleteProject")
def delete_project(state: State, request: Row) -> Row:
    """Delete a project and its stacks; retained resources stay."""
    row = PROJECT.describe(state, request)
    _busy(row)
    for _, stack in _stacks(state, row):
        _backend(state).delete_stack(stack.stack_id)
    row["ProjectStatus"] = "DeleteInProgress"
    state.later(state.trouble.becoming, lambda: state.of("Project").pop(row["ProjectName"], None))
    return {}
