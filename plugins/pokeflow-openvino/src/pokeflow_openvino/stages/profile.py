"""Stage ``profile``: the duration of each operator, as OpenVINO reports it with profiling switched on."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import Result, Task
from pokeflow_openvino.network import FILE, FRAMEWORK, compile_model
from pokeflow_vision import profiling
from pokeflow_vision.onnx_network import INPUT
from pokeflow_vision.preprocessing import Preprocessing, normalize
from pokeflow_vision.profiling import Operator, ProfileParams

if TYPE_CHECKING:
    import numpy as np
    from openvino import ProfilingInfo

SOURCE = "get_profiling_info of OpenVINO, which keeps means in whole microseconds"


def run(task: Task) -> Result:
    """Profile the task's first model at batch 1, and write ``profiling_results.json``."""
    return profiling.run(task, watch, framework=FRAMEWORK, source=SOURCE)


def watch(
    folder: Path, spec: Preprocessing, params: ProfileParams, pictures: Iterable["np.ndarray"], work: Path
) -> list[Operator]:
    """Return the mean duration of every operator that took time; operators fused into another take none."""
    request = compile_model(folder / FILE, spec, params.threads, PERF_COUNT=True).create_infer_request()
    # OpenVINO's means include the warm-up runs, so their share is subtracted.
    before: dict[str, float] = {}
    runs = 0
    for runs, picture in enumerate(pictures, 1):
        request.infer({INPUT: normalize(picture, spec)})
        if runs == params.warmup:
            before = {entry.node_name: _mean(entry) * runs for entry in request.get_profiling_info()}
    operators = [
        Operator(
            entry.node_name,
            entry.node_type,
            entry.exec_type,
            (_mean(entry) * runs - before.get(entry.node_name, 0.0)) / (runs - params.warmup),
        )
        for entry in request.get_profiling_info()
    ]
    return [operator for operator in operators if operator.milliseconds > 0]


def _mean(entry: "ProfilingInfo") -> float:
    return float(entry.real_time.total_seconds() * 1000)
