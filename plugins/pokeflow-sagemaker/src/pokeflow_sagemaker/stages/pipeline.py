"""Stage ``pipeline``: writes the pipelines of the lineage as Python files."""

from pokeflow import Result, Task
from pokeflow_sagemaker.pipelines import lineage, text


def run(task: Task) -> Result:
    """Write ``<name>.py`` for each pipeline that the lineage has steps for. Facts: ``pipelines``, a sentence each."""
    written = lineage.write(task.params, task.shared)
    for name, pipeline in written.pipelines.items():
        (task.output / f"{name}.py").write_text(text.file(name, pipeline), encoding="utf-8")
    return Result(facts={"pipelines": {name: pipeline.about for name, pipeline in written.pipelines.items()}})
