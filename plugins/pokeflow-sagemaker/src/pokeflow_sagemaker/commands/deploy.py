"""Command ``pokeflow deploy``: creates, updates or deletes the SageMaker endpoint of a finished bundle."""

import argparse

import pokeflow
from pokeflow.text import format_facts
from pokeflow_sagemaker.commands.options import params_of, with_options
from pokeflow_sagemaker.serving import bundles
from pokeflow_sagemaker.serving.params import check_deploy

NAME = "deploy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("model", nargs="?", help="model whose bundle is deployed (default: the newest bundle)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--serverless", action="store_true", default=None, help="deploy a serverless endpoint")
    how.add_argument("--instances", type=int, metavar="N", help="number of instances")
    how.add_argument("--delete", action="store_true", help="delete the model's endpoint")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Deploy the newest bundle, or that of a model, and print the endpoint's URL; with ``--delete`` delete it.

    An endpoint that is up to date stays unchanged.
    """
    from pokeflow_sagemaker.serving import deploy

    flow = pokeflow.load(overrides)
    serverless = False if arguments.instances else arguments.serverless
    options = {"serverless": serverless, "instances": arguments.instances}
    params = with_options(NAME, params_of(flow, NAME), check_deploy, **options)
    if arguments.delete:
        # An endpoint costs money, so it can be deleted even if its bundle or the whole bucket is gone.
        in_lineage = arguments.model in flow.parents
        model = arguments.model if in_lineage else bundles.in_bucket(flow, arguments.model).record.model
        facts = deploy.delete(params, model, flow.remote_store)
    else:
        facts = deploy.deploy(params, bundles.in_bucket(flow, arguments.model))
    print(format_facts(facts))
    return 0
