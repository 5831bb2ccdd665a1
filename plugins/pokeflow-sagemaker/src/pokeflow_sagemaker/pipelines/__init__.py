"""SageMaker's pipelines: written from the lineage as Python that people read, brought to SageMaker, and started.

A written file holds one ``Pipeline`` of steps and calls ``main``; these are all that it needs.
"""

from pokeflow_sagemaker.executor.params import Account, Container, JobParams, Network
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
    "Network",
    "Parameter",
    "Pipeline",
    "Register",
    "Run",
    "Transform",
    "main",
]
