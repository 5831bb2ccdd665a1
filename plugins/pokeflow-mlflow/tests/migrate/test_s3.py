"""Experiments come out of a bucket and into the unified place on S3, where every other machine finds them."""

from pathlib import Path
from typing import Any

import pytest

from mlflow_s3_store import _settings as settings
from pokeflow.objects import open_uri
from pokeflow_testkit import mlruns
from pokeflow_testkit.mlruns import Bring
from pokeflow_testkit.s3 import Server


@pytest.mark.long
def test_a_folder_in_a_bucket_goes_to_the_unified_place_and_from_there_into_a_database(
    tmp_path: Path,
    old_runs: Path,
    old_contents: dict[str, Any],
    s3: Server,
    uri: str,
    bring: Bring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = open_uri(s3.uri)
    for file in old_runs.rglob("*"):
        if file.is_file():
            bucket.write(f"old/mlruns/{file.relative_to(old_runs).as_posix()}", file.read_bytes(), match=None)
    monkeypatch.setenv(settings.variable(settings.FLUSH_SECONDS), "3600")
    monkeypatch.setenv(settings.variable(settings.CACHE), str(tmp_path / "one machine"))
    unified = f"{s3.uri}/project/cards/experiments/mlflow"
    told = bring(f"{s3.uri}/old/mlruns", unified)
    assert told["problems"] == []
    assert all(old == new for old, new in told["counts"].values())
    monkeypatch.setenv(settings.variable(settings.CACHE), str(tmp_path / "another machine"))
    assert mlruns.elsewhere("read", unified) == old_contents
    again = bring(f"{s3.uri}/old/mlruns", unified)
    assert {row["done"] for row in again["rows"]} == {
        "run there already", "model there already", "version there already"}  # fmt: skip
    assert bring(unified, uri)["problems"] == []
    assert mlruns.read(uri) == old_contents
