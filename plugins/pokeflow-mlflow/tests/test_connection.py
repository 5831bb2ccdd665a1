import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pokeflow import PokeflowError
from pokeflow_mlflow import connection
from pokeflow_mlflow.connection import connect


@pytest.mark.slow
def test_artifacts_are_stored_next_to_the_database(uri, database):
    with connect(uri) as store:
        number = store.experiment("cards/stage 1")
        experiment = store.client.get_experiment(number)

    assert experiment.name == "cards/stage 1"
    assert experiment.artifact_location == (database.parent / "mlartifacts" / "cards-stage-1").as_uri()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc", ".hidden"])
def test_experiment_name_cannot_escape_the_artifact_folder(uri, database, name):
    with connect(uri) as store:
        where = store.client.get_experiment(store.experiment(name)).artifact_location

    folder = Path(where.removeprefix("file://")).resolve()
    assert folder.parent == database.parent / "mlartifacts"


def test_existing_experiment_is_reused(uri):
    with connect(uri) as store:
        assert store.experiment("cards") == store.experiment("cards")


def test_deleted_experiment_is_refused(uri):
    with connect(uri) as store:
        store.client.delete_experiment(store.experiment("cards"))
        with pytest.raises(PokeflowError, match="'cards' was deleted"):
            store.experiment("cards")


def test_global_state_of_mlflow_is_unchanged(uri):
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    with connect(uri) as store:
        store.client.create_run(store.experiment("cards"))

    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
    assert mlflow.active_run() is None


@pytest.mark.slow
def test_plugin_disables_mlflow_telemetry(tmp_path):
    code = (
        "import sys\n"
        "from pokeflow_mlflow.connection import connect\n"
        f"with connect('sqlite:///{tmp_path}/mlflow.db'): pass\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_relative_address_is_relative_to_the_current_folder(database, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with connect("sqlite:///store/mlflow.db") as store:
        number = store.experiment("cards")
    monkeypatch.chdir("/")
    with connect(f"sqlite:///{database}") as store:
        assert store.client.get_experiment(number).name == "cards"


def test_password_is_not_in_errors_or_logs(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(PokeflowError, match=r"MLflow at http://127\.0\.0\.1:9") as caught,
        connect("http://ash:pikachu@127.0.0.1:9") as store,
    ):
        store.experiment("cards")

    assert "pikachu" not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


def test_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be looked at. " * 50)
    # MLflow retries before it fails; only the failure matters here.
    with pytest.raises(PokeflowError, match="MLflow at sqlite:"), connect(f"sqlite:///{tmp_path}/mlflow.db") as store:
        store.experiment("cards")


def test_lock_of_another_process_times_out(uri, database, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.1)
    with (
        FileLock(f"{database}.lock"),
        pytest.raises(PokeflowError, match=r"mlflow\.db\.lock: another process"),
        connect(uri),
    ):
        pass


def test_endpoint_and_region_do_not_override_the_environment(uri, monkeypatch):
    variables = ("MLFLOW_S3_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    for name in variables:
        monkeypatch.setenv(name, "")  # so that values set here are removed afterwards
        monkeypatch.delenv(name)
    with connect(uri):
        assert not set(variables) & set(os.environ)
    with connect(uri, endpoint="http://127.0.0.1:9000", region="us-east-2"):
        assert [os.environ[name] for name in variables] == ["http://127.0.0.1:9000", "us-east-2"]
    with connect(uri, endpoint="http://127.0.0.1:9001"):
        assert os.environ["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:9000"


ARN = "arn:aws:sagemaker:us-east-2:123456789012:mlflow-tracking-server/cards"


def test_tracking_uri_variable_is_set_for_an_arn_and_restored(monkeypatch):
    # sagemaker-mlflow reads MLflow's process-wide address to know which server to sign for.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    with connection._with_tracking_uri(ARN):
        assert os.environ["MLFLOW_TRACKING_URI"] == ARN
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://elsewhere"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(OSError, match="away"), connection._with_tracking_uri(ARN):
        raise OSError("away")
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_arn_is_opened_through_the_sagemaker_package(mlflow_server, monkeypatch, tmp_path):
    pytest.importorskip("sagemaker_mlflow", reason="the plugin's extra `sagemaker`")
    mlflow_server.start(artifacts=("--no-serve-artifacts", "--default-artifact-root", (tmp_path / "kept").as_uri()))
    for name, value in {
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": mlflow_server.address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    with connect(ARN) as store:
        run = store.client.create_run(store.experiment("cards")).info.run_id
        store.client.log_text(run, "# fine", "summary.md")

    with connect(mlflow_server.address) as store:
        assert [artifact.path for artifact in store.client.list_artifacts(run)] == ["summary.md"]
