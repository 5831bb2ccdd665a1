"""Stage ``benchmark``: accuracy of a compiled model on the test split, and its speed with ONNX Runtime."""

from pokeflow import Result, Task
from pokeflow_onnxruntime import network
from pokeflow_vision import benchmark
from pokeflow_vision.network import size_mb


def run(task: Task) -> Result:
    """Benchmark the task's first model on this machine's processor."""
    return benchmark.run(
        task, network.open_network, framework=network.FRAMEWORK, size_mb=lambda folder: size_mb(folder, *network.FILES)
    )
