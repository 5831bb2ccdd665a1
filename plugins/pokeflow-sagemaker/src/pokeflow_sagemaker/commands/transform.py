"""Command ``pokeflow transform``: runs a finished bundle on every image below a prefix as a batch transform job."""

import argparse

import pokeflow
from pokeflow.text import format_facts
from pokeflow_sagemaker.commands.options import params_of, with_options
from pokeflow_sagemaker.serving import bundles
from pokeflow_sagemaker.serving.params import check_transform

NAME = "transform"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("source", metavar="SRC", help="prefix of the images: s3://bucket/prefix/")
    parser.add_argument("destination", metavar="DST", help="prefix for the responses: s3://bucket/prefix/")
    parser.add_argument("model", nargs="?", help="model whose bundle is used (default: the newest bundle)")
    parser.add_argument("--instances", type=int, metavar="N", help="number of instances")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Run a batch transform job, or wait for the one in progress, and print the URI of its responses."""
    from pokeflow_sagemaker.serving import transform

    flow = pokeflow.load(overrides)
    options = {name: getattr(arguments, name) for name in ("source", "destination", "instances")}
    params = with_options(NAME, params_of(flow, NAME), check_transform, **options)
    print(format_facts(transform.transform(params, bundles.in_bucket(flow, arguments.model))))
    return 0
