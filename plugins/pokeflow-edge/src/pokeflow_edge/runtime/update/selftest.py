"""Tries a bundle on this device before it serves: in a process of its own, with the bundle's own code."""

import os
import subprocess
import sys
from pathlib import Path

PATIENCE = 600.0
"""Seconds that a bundle may take to open and to answer a few pictures."""


def tried(folder: Path) -> str:
    """Open a bundle as its service does, which proves it on the pictures that it brings; empty, or why it fails."""
    command = [sys.executable, "-P", "-B", "-m", "pokeflow_edge.runtime", "--check", "--bundle", str(folder)]
    # Without what would lead its imports elsewhere, and what is none of its business.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}
    env["PYTHONPATH"] = str(folder / "lib")
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it did not answer within {PATIENCE:g} seconds."
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}."]
    return said[-1][:500]
