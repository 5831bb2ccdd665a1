"""A finished bundle answers on this machine, as it does in the cloud."""

import argparse

import pokeflow
from pokeflow import store
from pokeflow.cli import _services as services
from pokeflow.types import Input

STAGE = "serve"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", nargs="?", help="whose bundle (default: the one that was finished last)")
    parser.add_argument("--port", type=int, help="the port to answer on (default 8080; 0: a free one)")
    parser.add_argument("--host", help="the address to answer on (default 127.0.0.1: this machine alone)")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Serve the newest bundle, or a model's, until Ctrl-C or SIGTERM."""
    flow = pokeflow.load(overrides)
    service = services.asked(services.service(flow, STAGE), port=given.port, host=given.host)
    record = services.bundle(flow, given.model)
    services.run(flow, service, record, [Input(record, store.of(flow).fetch(record))])
    return 0
