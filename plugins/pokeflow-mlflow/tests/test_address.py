from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_mlflow import address
from pokeflow_mlflow.address import database, faults, redact

words = st.text("abcXYZ019-._~%:", min_size=1, max_size=20)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///store/mlflow.db",
        "sqlite:////data/mlflow.db",
        "http://localhost:5000",
        "https://mlflow.org/a",
        "s3://pokemon-card-training-us-east-2",
        "s3://pokemon-card-training-us-east-2/project/pokemon-card-recognition/experiments/mlflow",
        "s3://a.b-3/x/",
    ],
)
def test_valid_address_has_no_fault(uri):
    assert list(faults(uri)) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///data/mlruns", "deprecated its file store"),
        ("mlruns", "deprecated its file store"),
        ("sqllite:///x.db", "Did you mean 'sqlite'? Known: http, https, s3, sqlite."),
        ("s4://bucket/mlflow", "no MLflow store with scheme 's4'"),
        ("s3:bucket/mlflow", "names no bucket; use s3://bucket/prefix"),
        ("s3:///mlflow", "names no bucket; use s3://bucket/prefix"),
        ("s3://Cards/mlflow", "'Cards' is not a valid bucket name: 3 to 63 of a-z"),
        ("s3://ab/mlflow", "'ab' is not a valid bucket name"),
        ("s3://192.168.0.1/mlflow", "'192.168.0.1' is not a valid bucket name"),
        ("s3://bucket/../mlflow", "the prefix has an empty part, '.' or '..'"),
        ("s3://bucket//mlflow", "the prefix has an empty part"),
        ("s3://bucket/mlflow?endpoint=http://x", "Use s3://bucket/prefix alone"),
        (
            "arn:aws:sagemaker:us-east-2:123:mlflow-tracking-server/cards",
            "<12-digit account>:mlflow-tracking-server/<name>",
        ),
        ("arn:aws:s3:::bucket", "is not the ARN of SageMaker's managed MLflow"),
        ("arn:aws:sagemaker:us-east-2:123456789012:model/cards", "is not the ARN of SageMaker's managed MLflow"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///s3://bucket/mlflow.db", "needs a local folder"),
        ("http://", "names no host"),
    ],
)
def test_invalid_address_is_reported_with_advice(uri, message):
    (fault,) = faults(uri)
    assert message in fault


@pytest.mark.parametrize("what", ["mlflow-tracking-server/cards", "mlflow-app/app-A1B2C3D4"])
@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_sagemaker_arn_requires_its_package(what, partition, monkeypatch):
    arn = f"arn:{partition}:sagemaker:us-east-2:123456789012:{what}"
    monkeypatch.setattr(address, "_schemes", lambda: {"http"})
    (fault,) = faults(arn)
    assert "sagemaker-mlflow, which is not installed" in fault
    assert "pip install 'pokeflow-mlflow[sagemaker]'" in fault

    monkeypatch.setattr(address, "_schemes", lambda: {"http", "arn"})
    assert list(faults(arn)) == []


def test_password_in_address_is_refused_without_printing_it():
    (fault,) = faults("https://ash:pikachu@mlflow.example.com")
    assert "MLFLOW_TRACKING_PASSWORD" in fault
    assert "pikachu" not in fault


def test_three_slashes_are_relative_and_four_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert database("sqlite:///store/mlflow.db") == tmp_path / "store/mlflow.db"
    assert database("sqlite:////data/mlflow.db?timeout=9") == Path("/data/mlflow.db")
    assert database("http://localhost:5000") is None


@given(user=words, password=words, before=st.text(max_size=20), path=words)
def test_redact_removes_only_user_and_password(user, password, before, path):
    secret = f"{before} https://{user}:{password}@host/{path}"
    assert redact(secret) == redact(before) + f" https://host/{path}"
    assert redact(redact(secret)) == redact(secret)


def test_redact_leaves_text_without_credentials_unchanged():
    assert redact("write to a@b.example or see https://host/a@b") == "write to a@b.example or see https://host/a@b"


def test_bucket_without_its_package_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(address, "find_spec", lambda name: None)
    (fault,) = faults("s3://bucket/mlflow")
    assert "pip install 'pokeflow-mlflow[s3]'" in fault
