"""Stage ``benchmark``: what a compiled model answers on the test split, and how long ONNX Runtime takes for it."""

from pokeflow import Result, Task
from pokeflow_onnxruntime import network
from pokeflow_vision import benchmark
from pokeflow_vision.network import size_mb


def run(task: Task) -> Result:
    """Benchmark the task's first model on this machine's processor."""
    return benchmark.run(
        task, network.opened, framework=network.FRAMEWORK, size_mb=lambda folder: size_mb(folder, *network.FILES)
    )
