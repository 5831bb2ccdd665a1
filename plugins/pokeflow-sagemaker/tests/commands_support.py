"""A command of the plugin, called as the command line calls it, whose errors reach the test."""

import argparse
from collections.abc import Sequence

import pokeflow_sagemaker
from pokeflow.cli._arguments import asked
from pokeflow.types import load_function
from support import TOY_FLOW

CLOUD_FLOW = (*(word for word in TOY_FLOW if word != "cloud=none"), "cloud=sagemaker")
"""Overrides that make the toy flow, with the cloud's commands."""


def call(name: str, words: Sequence[str]) -> int:
    (command,) = (c for c in pokeflow_sagemaker.pokeflow_commands() if c.name == name)
    parser = argparse.ArgumentParser(name)
    load_function(command.arguments)(parser)
    return int(load_function(command.run)(*asked(parser, words)))
