"""The backend of ``pokeflow provision``."""

from pokeflow import Backend, Result, Task
from pokeflow_sagemaker.provision.params import ProvisionParams, check


def _provision(task: Task) -> Result:
    from pokeflow_sagemaker.provision import run

    return run.run(task)


BACKENDS = (Backend("sagemaker", "provision", _provision, ProvisionParams, check=check),)
