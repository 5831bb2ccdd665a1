"""What pokeflow-vision brings to pokeflow; a module of its own, since a small device gets others of this package."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """``pokeflow recognize``."""
    where = "pokeflow_vision.commands.recognize"
    summary = "the items most like a picture, by the newest compiled model"
    return [Command("recognize", summary, f"{where}:run", f"{where}:arguments")]
