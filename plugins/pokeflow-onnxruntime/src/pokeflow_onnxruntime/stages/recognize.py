"""Stage ``recognize``: the cards that one picture may show, according to the compiled model."""

from pokeflow import Result, Task
from pokeflow_onnxruntime import network
from pokeflow_vision import recognition


def run(task: Task) -> Result:
    """Recognize one picture and write ``matches.json``."""
    return recognition.run(task, network.open_network)
