"""The backends of ``pokeflow serve``, ``deploy`` and ``transform``."""

from pokeflow import Backend, Result, Task
from pokeflow_sagemaker.serving import params


def _serve(task: Task) -> Result:
    from pokeflow_sagemaker.serving import local

    return local.run(task)


def _deploy(task: Task) -> Result:
    from pokeflow_sagemaker.serving import deploy

    return deploy.run(task)


def _transform(task: Task) -> Result:
    from pokeflow_sagemaker.serving import transform

    return transform.run(task)


BACKENDS = (
    Backend("sagemaker", "serve", _serve, params.ServeParams, check=params.check_serve),
    Backend("sagemaker", "deploy", _deploy, params.DeployParams, check=params.check_deploy),
    Backend("sagemaker", "transform", _transform, params.TransformParams, check=params.check_transform),
)
