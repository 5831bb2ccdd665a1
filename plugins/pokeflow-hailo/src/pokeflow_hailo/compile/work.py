"""What stands before the compiler is looked for: a checked network, its calibration set, its script."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokeflow import Task
from pokeflow.types import Input
from pokeflow_hailo.compile import graph, script
from pokeflow_hailo.compile.calibration import calibration_config
from pokeflow_hailo.compile.graph import Graph
from pokeflow_hailo.compile.reference import Reference
from pokeflow_hailo.compile.script import Asked
from pokeflow_hailo.params import CompileParams
from pokeflow_vision import calibration, comparison, jsonfile
from pokeflow_vision.comparison import Embeddings
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import ONNX, model_and_data


@dataclass(frozen=True, slots=True)
class Work:
    """One compilation up to where the compiler is needed; its files lie in ``task.output`` already.

    ``before`` is what the float32 network makes of references and val queries.
    """

    task: Task
    params: CompileParams
    parent: Input
    data: Dataset
    queries: list[int]
    graph: Graph
    before: Embeddings
    script: str
    asked: Asked
    calibration: Mapping[str, Any]

    @property
    def stem(self) -> str:
        """What every file of this network is named after."""
        return self.params.file.removesuffix(".hef")

    def file(self, end: str) -> Path:
        """A file of this network in the task's output."""
        return self.task.output / f"{self.stem}{end}"


def prepared(task: Task) -> Work:
    """Check the network, keep the calibration set, write the script: all that needs no compiler."""
    params: CompileParams = task.params
    parent, data = model_and_data(task)
    spec = data.preprocessing
    queries = data.asked_of(comparison.SPLIT, "compile")
    stem = params.file.removesuffix(".hef")
    checked = graph.checked(parent.folder / ONNX, task.output / f"{stem}.onnx", spec, params.operators)
    shown = calibration.write(task.output, data, params.calibration_images, params.calibration_file)
    asked = script.asked(params.script, len(shown))
    script.require_enough(asked.optimization_level, len(shown), params.allow_downgrade)
    network = Reference(parent.folder, spec, checked.dim)
    before = comparison.embeddings_of(network, data, queries, "fp32")
    domain = calibration.require_in_domain(shown, data, network, before)
    spec.write(task.output)
    text = script.text(params.script, spec, len(shown))
    (task.output / f"{stem}.alls").write_text(text, encoding="utf-8")
    config = calibration_config(task.output, data, shown, domain, params)
    jsonfile.write(task.output / calibration.CONFIG, config)
    return Work(task, params, parent, data, queries, checked, before, text, asked, config)
