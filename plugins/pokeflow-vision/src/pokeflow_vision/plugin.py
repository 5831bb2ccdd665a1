"""Plugin hooks of pokeflow-vision; a separate module, because small devices get only other modules of this package."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the command ``pokeflow recognize``."""
    module = "pokeflow_vision.commands.recognize"
    summary = "recognize a picture with the newest compiled model"
    return [Command("recognize", summary, f"{module}:run", f"{module}:add_arguments")]
