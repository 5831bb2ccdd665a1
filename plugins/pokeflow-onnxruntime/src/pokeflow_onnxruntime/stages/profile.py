"""Stage ``profile``: the duration of each operator, from the trace that ONNX Runtime's profiler writes."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime

from pokeflow import Result, Task
from pokeflow_onnxruntime.network import FILE, FRAMEWORK, INPUT, OUTPUT, open_network
from pokeflow_vision import profiling
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.profiling import Operator, ProfileParams

if TYPE_CHECKING:
    import numpy as np

SOURCE = "the profiler of ONNX Runtime"
KERNEL_SUFFIX = "_kernel_time"


def run(task: Task) -> Result:
    """Profile the task's first model at batch 1, and write ``profiling_results.json``."""
    return profiling.run(task, watch, framework=FRAMEWORK, source=SOURCE)


def watch(
    folder: Path, spec: Preprocessing, params: ProfileParams, pictures: Iterable["np.ndarray"], work: Path
) -> list[Operator]:
    """Return the mean duration of every operator, in execution order; its kernel is the execution provider."""
    network = open_network(folder, spec, params.threads)
    options = network.session.get_session_options()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(dir=work) as traces:
        options.profile_file_prefix = str(Path(traces) / "trace")
        session = onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])
        for picture in pictures:
            session.run([OUTPUT], {INPUT: network.prepare(picture)})
        trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))

    descriptions: dict[str, tuple[str, str]] = {}
    times: dict[str, list[float]] = {}
    for event in trace:
        if event["cat"] == "Node" and event["name"].endswith(KERNEL_SUFFIX):
            name = event["name"].removesuffix(KERNEL_SUFFIX)
            descriptions[name] = event["args"]["op_name"], event["args"]["provider"]
            times.setdefault(name, []).append(event["dur"] / 1000)
    counted_times = {name: durations[params.warmup :] for name, durations in times.items()}
    return [
        Operator(name, *descriptions[name], sum(durations) / len(durations))
        for name, durations in counted_times.items()
    ]
