from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_mlflow.address import database, faults, redact

words = st.text("abcXYZ019-._~%:", min_size=1, max_size=20)


@pytest.mark.parametrize(
    "uri", ["sqlite:///store/mlflow.db", "sqlite:////data/mlflow.db", "http://localhost:5000", "https://mlflow.org/a"]
)
def test_known_addresses_have_no_fault(uri):
    assert list(faults(uri)) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:///data/mlruns", "giving up its file store"),
        ("mlruns", "giving up its file store"),
        ("sqllite:///x.db", "Did you mean 'sqlite'? Known: http, https, sqlite."),
        ("s3://bucket/mlflow", "no MLflow store with scheme 's3'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///s3://bucket/mlflow.db", "needs a local folder"),
        ("http://", "names no host"),
    ],
)
def test_a_fault_says_what_to_use_instead(uri, said):
    (fault,) = faults(uri)
    assert said in fault


def test_a_password_in_an_address_is_refused_without_being_repeated():
    (fault,) = faults("https://ash:pikachu@mlflow.example.com")
    assert "MLFLOW_TRACKING_PASSWORD" in fault
    assert "pikachu" not in fault


def test_three_slashes_are_relative_to_the_current_folder_and_four_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert database("sqlite:///store/mlflow.db") == tmp_path / "store/mlflow.db"
    assert database("sqlite:////data/mlflow.db?timeout=9") == Path("/data/mlflow.db")
    assert database("http://localhost:5000") is None


@given(user=words, password=words, before=st.text(max_size=20), path=words)
def test_redacting_takes_out_user_and_password_and_nothing_else(user, password, before, path):
    secret = f"{before} https://{user}:{password}@host/{path}"
    assert redact(secret) == redact(before) + f" https://host/{path}"
    assert redact(redact(secret)) == redact(secret)


def test_text_without_an_address_is_left_as_it_is():
    assert redact("write to a@b.example or see https://host/a@b") == "write to a@b.example or see https://host/a@b"
