"""Preparation of a compilation without the compiler: checked network, calibration set and model script."""

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
from pokeflow_hailo.compile.script import OptimizationLevels
from pokeflow_hailo.params import CompileParams
from pokeflow_vision import calibration, comparison, jsonfile
from pokeflow_vision.comparison import Embeddings
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import ONNX, model_and_data


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A prepared compilation, whose files are in ``task.output`` already.

    ``before`` are the float32 network's embeddings of references and val queries.
    """

    task: Task
    params: CompileParams
    parent: Input
    data: Dataset
    queries: list[int]
    graph: Graph
    before: Embeddings
    script: str
    requested: OptimizationLevels
    calibration: Mapping[str, Any]

    @property
    def stem(self) -> str:
        """Common stem of all file names of this network."""
        return self.params.file.removesuffix(".hef")

    def file(self, end: str) -> Path:
        """Return the path of a file of this network in the task's output."""
        return self.task.output / f"{self.stem}{end}"


def prepare_model(task: Task) -> PreparedModel:
    """Check the network, write the calibration set and the model script, and embed with the float32 network."""
    params: CompileParams = task.params
    parent, data = model_and_data(task)
    spec = data.preprocessing
    queries = data.queries_for(comparison.SPLIT, "compile")
    stem = params.file.removesuffix(".hef")
    network_graph = graph.check_and_write(parent.folder / ONNX, task.output / f"{stem}.onnx", spec, params.operators)
    images = calibration.write(task.output, data, params.calibration_images, params.calibration_file)
    requested = script.resolve_levels(params.script, len(images))
    script.require_enough(requested.optimization_level, len(images), params.allow_downgrade)
    network = Reference(parent.folder, spec, network_graph.dim)
    before = comparison.embeddings_of(network, data, queries, "fp32")
    domain = calibration.require_in_domain(images, data, network, before)
    spec.write(task.output)
    text = script.render_script(params.script, spec, len(images))
    (task.output / f"{stem}.alls").write_text(text, encoding="utf-8")
    config = calibration_config(task.output, data, images, domain, params)
    jsonfile.write(task.output / calibration.CONFIG, config)
    return PreparedModel(task, params, parent, data, queries, network_graph, before, text, requested, config)
