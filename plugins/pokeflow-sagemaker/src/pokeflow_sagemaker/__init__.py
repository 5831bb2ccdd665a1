"""Plugin for SageMaker: tasks as jobs, the project, model registry, pipelines, endpoints and deployable bundles.

This module imports nothing heavy: other modules are loaded when their first task or command runs.
"""

from collections.abc import Iterable

from pokeflow import Backend, Command, Executor, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends ``sagemaker``. A bundle's digest includes the packed code."""
    return [
        Backend(
            "sagemaker",
            "bundle",
            "pokeflow_sagemaker.stages.bundle:run",
            "pokeflow_sagemaker.bundle.params:BundleParams",
            check="pokeflow_sagemaker.bundle.params:check",
            fingerprint="pokeflow_sagemaker.bundle.params:fingerprint",
        ),
        Backend(
            "sagemaker",
            "pipeline",
            "pokeflow_sagemaker.stages.pipeline:run",
            "pokeflow_sagemaker.pipelines.params:PipelineParams",
            check="pokeflow_sagemaker.pipelines.params:check",
        ),
        Backend(
            "sagemaker",
            "register",
            "pokeflow_sagemaker.stages.register:run",
            "pokeflow_sagemaker.registry.params:RegisterParams",
            check="pokeflow_sagemaker.registry.params:check",
            identity_in_digest=True,
        ),
    ]


@hookimpl
def pokeflow_executors() -> Iterable[Executor]:
    """Return the executor ``sagemaker``."""
    return [
        Executor(
            "sagemaker",
            "pokeflow_sagemaker.executor.run:run",
            "pokeflow_sagemaker.executor.params:JobParams",
            price="pokeflow_sagemaker.executor.bill:price",
            limit="pokeflow_sagemaker.executor.params:limit",
            check="pokeflow_sagemaker.executor.params:check",
            remote=True,
            bill="pokeflow_sagemaker.executor.bill:bill",
        )
    ]


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the cloud commands; ``pipeline`` takes its parameters from its stage."""
    return [
        Command(
            "provision",
            "create the project's AWS resources: bucket, roles, model registry, SageMaker Project",
            "pokeflow_sagemaker.commands.provision:run",
            "pokeflow_sagemaker.commands.provision:add_arguments",
            params="pokeflow_sagemaker.provision.params:ProvisionParams",
            check="pokeflow_sagemaker.provision.params:check",
        ),
        Command(
            "pipeline",
            "write the lineage as SageMaker pipelines, upload them and start one",
            "pokeflow_sagemaker.commands.pipeline:run",
            "pokeflow_sagemaker.commands.pipeline:add_arguments",
        ),
        Command(
            "serve",
            "serve a finished bundle over HTTP on this machine, as an endpoint would",
            "pokeflow_sagemaker.commands.serve:run",
            "pokeflow_sagemaker.commands.serve:add_arguments",
            params="pokeflow_sagemaker.serving.params:ServeParams",
            check="pokeflow_sagemaker.serving.params:check_serve",
        ),
        Command(
            "deploy",
            "deploy a finished bundle to a SageMaker endpoint",
            "pokeflow_sagemaker.commands.deploy:run",
            "pokeflow_sagemaker.commands.deploy:add_arguments",
            params="pokeflow_sagemaker.serving.params:DeployParams",
            check="pokeflow_sagemaker.serving.params:check_deploy",
        ),
        Command(
            "transform",
            "run a finished bundle on every image below an S3 prefix",
            "pokeflow_sagemaker.commands.transform:run",
            "pokeflow_sagemaker.commands.transform:add_arguments",
            params="pokeflow_sagemaker.serving.params:TransformParams",
            check="pokeflow_sagemaker.serving.params:check_transform",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return the package with the YAML files of this plugin, such as ``executor=sagemaker``, ``registry=sagemaker``."""
    return "pokeflow_sagemaker.conf"
