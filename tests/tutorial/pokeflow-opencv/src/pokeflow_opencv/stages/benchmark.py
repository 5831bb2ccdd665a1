"""Stage ``benchmark``: accuracy and latency of the compiled model on this machine."""

from pokeflow import Result, Task
from pokeflow_opencv.network import FILE, FRAMEWORK, open_network
from pokeflow_vision import benchmark
from pokeflow_vision.network import size_mb


def run(task: Task) -> Result:
    return benchmark.run(task, open_network, framework=FRAMEWORK, size_mb=lambda folder: size_mb(folder, FILE))
