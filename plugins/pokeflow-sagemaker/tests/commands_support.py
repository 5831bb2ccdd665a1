"""A command of the plugin, called as the command line calls it, whose errors reach the test."""

from collections.abc import Sequence

import pokeflow_sagemaker
from pokeflow.cli._arguments import parse
from pokeflow.types import load_function
from pokeflow_testkit.support import TOY_FLOW

CLOUD_FLOW = (*(word for word in TOY_FLOW if word != "cloud=none"), "cloud=sagemaker")
"""Overrides that make the toy flow, with the cloud's commands."""


def call(name: str, words: Sequence[str]) -> int:
    """Run one of the plugin's commands as the command line does; errors are raised."""
    (command,) = (c for c in pokeflow_sagemaker.pokeflow_commands() if c.name == name)
    return int(load_function(command.run)(*parse(command, words)))
