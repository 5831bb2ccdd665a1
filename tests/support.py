"""The toy flow and the command line, for tests of the core."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TOY = Path(__file__).parent / "toy"
POKEFLOW = str(Path(sys.executable).with_name("pokeflow"))

TOY_FLOW = ("lineage=toy", "data=none", "target=toy", "tracking=none")
"""Overrides that make a flow of the toy plugin alone: teacher → student → tiny, benchmarked and registered."""

Cli = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """The variables a command runs with: nothing of the developer's own, and the toy plugin in sight."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("POKEFLOW")}
    return {**kept, "PYTHONPATH": str(TOY), "PYTHONUNBUFFERED": "1", **more}
