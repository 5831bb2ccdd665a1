"""The bundle's command ``update``, which installs a newer release, rolls back, or shows the installed releases."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import releases, run
from pokeflow_edge.runtime.update.root import Root
from pokeflow_edge.runtime.update.service import Service
from pokeflow_edge.runtime.update.sources import source

COMMANDS = ("update", "rollback", "status")
ROOT = Path("/opt/pokeflow-edge")
UNIT = "pokeflow-edge.service"
HEALTH = "http://127.0.0.1:8080/health"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 on success or if nothing was to do, 1 after an error message; exit with 2 on misuse."""
    args = _parse(arguments)
    root = Root(args.root)
    os.umask(0o022)  # the service runs as another user, who must be able to read the installed files
    service = Service(args.restart, args.stop, args.health, args.health_seconds)
    try:
        if args.command == "status":
            print(json.dumps({"current": root.current, **asdict(root.state())}))
        elif args.command == "rollback":
            print(run.rollback(root, service))
        else:
            keys = args.key or root.folder / releases.KEYS
            print(run.update(root, source(args.source), keys, service, older=args.allow_older))
    except PokeflowError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        path = error.filename or root.folder
        print(f"{path}: {error.strerror or error}. Correct this, and run the command again.", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "update", description="Install a newer signed release, or roll back to the previous one."
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default=COMMANDS[0], help="(default: update)")
    parser.add_argument("--from", dest="source", metavar="SOURCE", help="a folder, http(s)://… or s3://bucket/prefix")
    parser.add_argument("--root", type=Path, default=ROOT, help=f"the installation (default: {ROOT})")
    parser.add_argument("--key", type=Path, help="public keys to trust (default: release.pub of the installation)")
    parser.add_argument(
        "--allow-older", action="store_true", help="accept a release that is older, or that failed on this device"
    )
    parser.add_argument(
        "--restart", default=f"systemctl restart {UNIT}", help="command that restarts the service; '': none"
    )
    parser.add_argument("--stop", default=f"systemctl stop {UNIT}", help="command that stops it; '': none")
    parser.add_argument("--health", default=HEALTH, metavar="URL", help=f"URL of the health check (default: {HEALTH})")
    parser.add_argument(
        "--health-seconds", type=float, default=60.0, metavar="S", help="timeout of the health check (default: 60)"
    )
    args = parser.parse_args(arguments)
    if args.command == COMMANDS[0] and not args.source:
        parser.error("--from SOURCE is required")
    return args


if __name__ == "__main__":
    sys.exit(main())
