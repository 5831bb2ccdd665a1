"""Every picture below a prefix of a bucket, answered by a finished bundle."""

import argparse

import pokeflow
from pokeflow.cli import _services as services

STAGE = "transform"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="SRC", help="where the pictures are: s3://bucket/prefix/")
    parser.add_argument("destination", metavar="DST", help="where the answers go: s3://bucket/prefix/")
    parser.add_argument("model", nargs="?", help="whose bundle (default: the one that was finished last)")
    parser.add_argument("--instances", type=int, metavar="N", help="on so many machines")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Answer every picture, an answer each, and print where the answers are; what is under way is waited for."""
    flow = pokeflow.load(overrides)
    own = {"source": given.source, "destination": given.destination, "instances": given.instances}
    service = services.asked(services.service(flow, STAGE), **own)
    record, inputs = services.shared_bundle(flow, given.model)
    print(services.told(services.run(flow, service, record, inputs).facts))  # noqa: T201
    return 0
