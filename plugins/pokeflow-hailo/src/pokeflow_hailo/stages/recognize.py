"""Stage ``recognize``: recognition of one picture by the compiled model on the chip."""

from pokeflow import Result, Task
from pokeflow_hailo import network
from pokeflow_vision import recognition


def run(task: Task) -> Result:
    """Recognize one picture and write ``matches.json``."""
    return recognition.run(task, network.open_network)
