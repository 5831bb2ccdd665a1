"""pokeflow serve: a finished bundle answers on this machine, as it does in the cloud."""

import argparse
from collections.abc import Sequence

from pokeflow.cli import _configured as configured
from pokeflow.cli import _services as services
from pokeflow.cli._arguments import asked
from pokeflow.store import _local as local
from pokeflow.types import Input

STAGE = "serve"


def main(args: Sequence[str]) -> int:
    """Serve the newest bundle, or a model's, until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser("pokeflow serve", description=__doc__)
    parser.add_argument("model", nargs="?", help="whose bundle (default: the one that was finished last)")
    parser.add_argument("--port", type=int, help="the port to answer on (default 8080; 0: a free one)")
    parser.add_argument("--host", help="the address to answer on (default 127.0.0.1: this machine alone)")
    given, overrides = asked(parser, args)
    flow = configured.flow(overrides)
    service = services.asked(services.service(flow, STAGE), port=given.port, host=given.host)
    record = services.bundle(flow, given.model)
    services.run(flow, service, record, [Input(record, local.of(flow).fetch(record))])
    return 0
