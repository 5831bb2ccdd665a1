"""Fixtures for every test."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pokeflow_testkit.cloud import cloud, cloud_server, containers
from pokeflow_testkit.s3 import moto_server, rclone_s3, rclone_server, s3
from pokeflow_testkit.support import cli

if TYPE_CHECKING:  # numpy is loaded by the tests that need it
    from pokeflow_testkit.images_support import Stage

__all__ = [
    "cli", "cloud", "cloud_server", "containers", "moto_server", "rclone_s3", "rclone_server", "s3", "stage",
]  # fmt: skip

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts background commands so; children that must receive Ctrl-C would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def stage(tmp_path: Path) -> "Stage":
    """Return a builder of folders as finished tasks of a stage on images leave them."""
    from pokeflow_testkit.images_support import Stage

    return Stage(tmp_path)
