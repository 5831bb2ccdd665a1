from collections.abc import Callable
from pathlib import Path

import pytest

from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.s3 import Server


@pytest.fixture
def bucket(s3: Server) -> Bucket:
    return Bucket(s3.name, "pre/fix")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(data: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return make
