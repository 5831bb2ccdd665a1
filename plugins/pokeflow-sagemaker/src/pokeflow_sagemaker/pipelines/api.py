"""Names that generated pipeline files import: ``Pipeline``, its steps and their parameters, and ``main``."""

from pokeflow_sagemaker.executor.params import Container, JobParams
from pokeflow_sagemaker.machines import Account, VpcConfig
from pokeflow_sagemaker.pipelines.control import main
from pokeflow_sagemaker.pipelines.steps import (
    CreateModel,
    Endpoint,
    Gates,
    Parameter,
    Pipeline,
    Register,
    Run,
    Transform,
)

__all__ = [
    "Account",
    "Container",
    "CreateModel",
    "Endpoint",
    "Gates",
    "JobParams",
    "Parameter",
    "Pipeline",
    "Register",
    "Run",
    "Transform",
    "VpcConfig",
    "main",
]
