"""Command ``pokeflow serve``: serves a finished bundle on this machine as in the cloud."""

import argparse

import pokeflow
from pokeflow_sagemaker.commands.options import with_options
from pokeflow_sagemaker.serving import bundles
from pokeflow_sagemaker.serving.params import ServeParams, check_serve

NAME = "serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("model", nargs="?", help="model whose bundle is served (default: the newest bundle)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8080; 0: any free port)")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1: only this machine)")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Serve the newest bundle, or that of a model, until Ctrl-C or SIGTERM."""
    from pokeflow_sagemaker.serving import local

    flow = pokeflow.load(overrides)
    # Local serving needs no AWS account, so it works without cloud=sagemaker as well.
    params = flow.cloud.get(NAME, ServeParams())
    params = with_options(NAME, params, check_serve, port=arguments.port, host=arguments.host)
    record = bundles.newest(flow, arguments.model)
    local.serve(params, record, pokeflow.open_store(flow).fetch(record))
    return 0
