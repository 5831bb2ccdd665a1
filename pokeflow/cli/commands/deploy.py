"""A finished bundle as an endpoint in the cloud, made, updated or deleted."""

import argparse

import pokeflow
from pokeflow.cli import _services as services

STAGE = "deploy"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", nargs="?", help="whose bundle (default: the one that was finished last)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--serverless", action="store_true", default=None, help="without machines of its own")
    how.add_argument("--instances", type=int, metavar="N", help="on so many machines")
    how.add_argument("--delete", action="store_true", default=None, help="take the model's endpoint away")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Deploy the newest bundle, or a model's, and print where it answers; what stands as asked is left alone."""
    flow = pokeflow.load(overrides)
    serverless = False if given.instances else given.serverless
    own = {"serverless": serverless, "instances": given.instances, "delete": given.delete}
    service = services.asked(services.service(flow, STAGE), **own)
    if given.delete and given.model in flow.parents:
        # What costs money can be taken away also where its bundle, or the whole bucket, is gone.
        print(services.told(services.run(flow, service, model=given.model).facts))  # noqa: T201
        return 0
    record, inputs = services.shared_bundle(flow, given.model)
    print(services.told(services.run(flow, service, record, inputs).facts))  # noqa: T201
    return 0
