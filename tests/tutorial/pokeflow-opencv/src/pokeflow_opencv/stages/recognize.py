"""Stage ``recognize``: what one picture shows."""

from pokeflow import Result, Task
from pokeflow_opencv.network import open_network
from pokeflow_vision import recognition


def run(task: Task) -> Result:
    return recognition.run(task, open_network)
