"""Stage ``pipeline``: writes the SageMaker pipelines of the lineage as Python files."""

from pokeflow import Result, Task
from pokeflow_sagemaker.pipelines import codegen, lineage


def run(task: Task) -> Result:
    """Write ``<name>.py`` for each pipeline that has steps; the fact ``pipelines`` describes each in a sentence."""
    generated = lineage.write(task.params, task.remote_store)
    for name, pipeline in generated.pipelines.items():
        (task.output / f"{name}.py").write_text(codegen.render_module(name, pipeline), encoding="utf-8")
    return Result(facts={"pipelines": {name: pipeline.about for name, pipeline in generated.pipelines.items()}})
