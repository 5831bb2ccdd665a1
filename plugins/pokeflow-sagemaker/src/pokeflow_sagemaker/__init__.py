"""SageMaker: tasks as its jobs, the project, registry, pipelines and endpoints there, and what it deploys.

Nothing heavy is imported here: a module is loaded when its first task or command runs.
"""

from collections.abc import Iterable

from pokeflow import Backend, Command, Executor, hookimpl
from pokeflow_sagemaker.bundle.params import BundleParams
from pokeflow_sagemaker.executor import bill
from pokeflow_sagemaker.executor.params import JobParams, limit
from pokeflow_sagemaker.executor.params import check as check_job
from pokeflow_sagemaker.pipelines.params import PipelineParams
from pokeflow_sagemaker.provision.params import ProvisionParams
from pokeflow_sagemaker.registry.params import RegisterParams
from pokeflow_sagemaker.serving.params import DeployParams, ServeParams, TransformParams

NAME = "sagemaker"
HERE = "pokeflow_sagemaker"


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends ``sagemaker``. The code that is packed is part of a bundle's digest."""
    return [
        Backend(
            NAME,
            "bundle",
            f"{HERE}.stages.bundle:run",
            BundleParams,
            check=f"{HERE}.bundle.params:check",
            fingerprint=f"{HERE}.bundle.params:fingerprint",
        ),
        Backend(
            NAME, "pipeline", f"{HERE}.stages.pipeline:run", PipelineParams, check=f"{HERE}.pipelines.params:check"
        ),
        Backend(
            NAME,
            "register",
            f"{HERE}.stages.register:run",
            RegisterParams,
            check=f"{HERE}.registry.params:check",
            named=True,
        ),
    ]


@hookimpl
def pokeflow_executors() -> Iterable[Executor]:
    """Return the executor ``sagemaker``."""
    return [
        Executor(
            NAME,
            f"{HERE}.executor.run:run",
            JobParams,
            price=bill.price,
            limit=limit,
            check=check_job,
            remote=True,
            bill=bill.bill,
        )
    ]


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the commands that work in the cloud; the parameters of ``pipeline`` are those of its stage."""
    return [
        Command(
            "provision",
            "what the project needs in the cloud: bucket, roles, registry, project",
            f"{HERE}.commands.provision:run",
            f"{HERE}.commands.provision:add_arguments",
            params=ProvisionParams,
            check=f"{HERE}.provision.params:check",
        ),
        Command(
            "pipeline",
            "the lineage as pipelines of the cloud: written, brought there, started",
            f"{HERE}.commands.pipeline:run",
            f"{HERE}.commands.pipeline:add_arguments",
        ),
        Command(
            "serve",
            "a finished model over HTTP on this machine, as it is served in the cloud",
            f"{HERE}.commands.serve:run",
            f"{HERE}.commands.serve:add_arguments",
            params=ServeParams,
            check=f"{HERE}.serving.params:check_serve",
        ),
        Command(
            "deploy",
            "a finished model as an endpoint in the cloud",
            f"{HERE}.commands.deploy:run",
            f"{HERE}.commands.deploy:add_arguments",
            params=DeployParams,
            check=f"{HERE}.serving.params:check_deploy",
        ),
        Command(
            "transform",
            "a finished model on every picture of a bucket's folder, in the cloud",
            f"{HERE}.commands.transform:run",
            f"{HERE}.commands.transform:add_arguments",
            params=TransformParams,
            check=f"{HERE}.serving.params:check_transform",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return where ``executor=sagemaker`` and ``cloud=sagemaker`` lie."""
    return "pokeflow_sagemaker.conf"
