"""Parameters of pipelines: project and roles, the instances of their jobs, and the model to serve."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pokeflow.gates import Gate
from pokeflow.gates import faults as gate_faults
from pokeflow.types import Budget
from pokeflow_sagemaker.executor.params import JobParams
from pokeflow_sagemaker.executor.params import check as check_job
from pokeflow_sagemaker.machines import is_role
from pokeflow_sagemaker.serving.params import DeployParams, TransformParams, check_deploy, check_transform


@dataclass(frozen=True, slots=True)
class PipelineParams:
    """Parameters of the six pipelines of a lineage.

    Attributes:
        project: Name of the project; it is part of names and tags.
        region: AWS region; None: the one in AWS's own settings.
        role: ARN of the role of the pipelines; None: the one that ``pokeflow provision`` creates.
        machine: Job parameters of tasks that the lineage does not run on SageMaker itself.
        gates: Conditions by name; a model is packed and registered only if it passes them.
        serve: Model that the inference pipelines serve; None: the last one with a bundle.
        deploy: Parameters of the endpoint.
        transform: Parameters of the batch transform job.
        cache_days: Days for which SageMaker may reuse a step's result.
        budget_usd: Limit for the cost of a start in US dollars.
        tasks: The tasks of the lineage; the flow adds them.

    """

    project: str
    region: str | None = None
    role: str | None = None
    machine: JobParams = field(default_factory=JobParams)
    gates: dict[str, Gate] = field(default_factory=dict)
    serve: str | None = None
    deploy: DeployParams = field(default_factory=DeployParams)
    transform: TransformParams = field(default_factory=TransformParams)
    cache_days: int = 30
    budget_usd: float | Budget | None = field(default=None, metadata={"digest": False})
    tasks: tuple[dict[str, Any], ...] = ()


def check(params: PipelineParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that type checks cannot find, as (parameter name, message) pairs."""
    yield from ((f"machine.{name}", message) for name, message in check_job(params.machine))
    yield from ((f"gates.{name}", message) for name, message in gate_faults(params.gates))
    yield from ((f"deploy.{name}", message) for name, message in check_deploy(params.deploy))
    yield from ((f"transform.{name}", message) for name, message in check_transform(params.transform))
    if not 1 <= params.cache_days <= 365:
        yield "cache_days", f"{params.cache_days} is not between 1 and 365"
    if params.role is not None and not is_role(params.role):
        yield "role", f"{params.role!r} is not the ARN of an IAM role"
