"""Stage ``recognize``: what one picture shows, as the compiled model sees it."""

from pokeflow import Result, Task
from pokeflow_openvino import network
from pokeflow_vision import recognition


def run(task: Task) -> Result:
    """Recognise one picture and write ``matches.json``."""
    return recognition.run(task, network.opened)
