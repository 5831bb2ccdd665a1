"""Test the command ``recognize`` without a compiled model."""

from pathlib import Path

import pytest

from pokeflow import ConfigError, PokeflowError
from pokeflow.cli import dispatch


def test_missing_compiled_model_is_reported_with_advice(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match=r"there is no compiled model yet\. Run 'pokeflow' first"):
        dispatch(["recognize", "photo.jpg", f"store.root={tmp_path}"])


@pytest.mark.slow
def test_only_the_store_configuration_must_be_valid(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match="there is no compiled model yet"):
        dispatch(["recognize", "photo.jpg", f"store.root={tmp_path}", "data=folder", "data.root=/no/such/folder"])
    with pytest.raises(ConfigError, match=r"store\.remote"):
        dispatch(["recognize", "photo.jpg", "store=s3", "store.remote=here"])
