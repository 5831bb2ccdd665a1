"""Variables and folders: the store's own names, and those that it had when it was part of another package."""

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


def test_working_copies_lie_in_the_user_s_cache(home) -> None:
    folder = replica.cache_folder()
    assert folder == home / "mlflow-s3-store"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_former_folder_of_working_copies_is_used_on(home) -> None:
    (home / "pokeflow/mlflow").mkdir(parents=True)
    assert replica.cache_folder() == home / "pokeflow/mlflow"
    (home / "mlflow-s3-store").mkdir()
    assert replica.cache_folder() == home / "mlflow-s3-store"


def test_a_variable_s_former_name_is_still_read_and_the_own_one_wins(home, monkeypatch) -> None:
    monkeypatch.setenv(FORMER, str(home / "former"))
    assert replica.cache_folder() == home / "former"
    monkeypatch.setenv(OWN, str(home / "own"))
    assert replica.cache_folder() == home / "own"


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_a_number_of_seconds_that_is_none_is_a_warning_and_the_default_holds(monkeypatch, caplog, text) -> None:
    monkeypatch.setenv("MLFLOW_S3_STORE_FLUSH_SECONDS", text)
    assert settings.seconds(settings.FLUSH_SECONDS, 5) == 5
    assert "MLFLOW_S3_STORE_FLUSH_SECONDS" in caplog.text


def test_a_former_name_of_a_number_of_seconds_is_read(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_S3_STORE_FLUSH_SECONDS", raising=False)
    monkeypatch.setenv("POKEFLOW_MLFLOW_FLUSH_SECONDS", "0.5")
    assert settings.seconds(settings.FLUSH_SECONDS, 5) == 0.5
