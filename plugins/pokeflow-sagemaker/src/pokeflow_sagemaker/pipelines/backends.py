"""Stage ``pipeline`` as backend ``sagemaker``."""

from pokeflow import Backend, Result, Task
from pokeflow_sagemaker.pipelines.params import PipelineParams, check


def _pipeline(task: Task) -> Result:
    from pokeflow_sagemaker.pipelines import run

    return run.run(task)


BACKENDS = (Backend("sagemaker", "pipeline", _pipeline, PipelineParams, check=check),)
