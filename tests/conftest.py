"""What every test of the core shares."""

import signal
import subprocess
from pathlib import Path

import pytest

from cloud import cloud, cloud_server, containers  # noqa: F401 - fixtures
from images_support import stage  # noqa: F401 - a fixture
from s3 import moto_server, rclone_s3, rclone_server, s3  # noqa: F401 - fixtures
from support import POKEFLOW, Cli, environment

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts what it puts into the background so, and children would inherit it: those that are to hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``pokeflow`` as a user does, in an empty folder; the store lies in it."""

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [POKEFLOW, *args]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
        )

    return run
