"""Environment variables and cache folders, under the store's own and its former names."""

import pytest

from mlflow_s3_store import _replica as replica
from mlflow_s3_store import _settings as settings

OWN, FORMER = "MLFLOW_S3_STORE_CACHE", "POKEFLOW_MLFLOW_CACHE"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in (OWN, FORMER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_working_copies_are_stored_in_the_user_cache(home) -> None:
    folder = replica.cache_folder()
    assert folder == home / "mlflow-s3-store"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_former_cache_folder_is_used_until_the_new_one_exists(home) -> None:
    (home / "pokeflow/mlflow").mkdir(parents=True)
    assert replica.cache_folder() == home / "pokeflow/mlflow"
    (home / "mlflow-s3-store").mkdir()
    assert replica.cache_folder() == home / "mlflow-s3-store"


def test_new_cache_variable_wins_over_its_former_name(home, monkeypatch) -> None:
    monkeypatch.setenv(FORMER, str(home / "former"))
    assert replica.cache_folder() == home / "former"
    monkeypatch.setenv(OWN, str(home / "own"))
    assert replica.cache_folder() == home / "own"


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_invalid_seconds_warn_and_use_the_default(monkeypatch, caplog, text) -> None:
    monkeypatch.setenv("MLFLOW_S3_STORE_FLUSH_SECONDS", text)
    assert settings.seconds(settings.FLUSH_SECONDS, 5) == 5
    assert "MLFLOW_S3_STORE_FLUSH_SECONDS" in caplog.text


def test_former_name_of_a_seconds_variable_is_read(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_S3_STORE_FLUSH_SECONDS", raising=False)
    monkeypatch.setenv("POKEFLOW_MLFLOW_FLUSH_SECONDS", "0.5")
    assert settings.seconds(settings.FLUSH_SECONDS, 5) == 0.5
