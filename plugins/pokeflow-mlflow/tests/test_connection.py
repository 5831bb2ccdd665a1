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


def test_artifacts_lie_beside_the_database_and_the_current_folder_stays_clean(uri, database):
    with connect(uri) as store:
        number = store.experiment("cards/stage 1")
        found = store.client.get_experiment(number)

    assert found.name == "cards/stage 1"
    assert found.artifact_location == (database.parent / "mlartifacts" / "cards-stage-1").as_uri()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc", ".hidden"])
def test_no_experiment_name_leads_out_of_the_artifact_folder(uri, database, name):
    with connect(uri) as store:
        where = store.client.get_experiment(store.experiment(name)).artifact_location

    folder = Path(where.removeprefix("file://")).resolve()
    assert folder.parent == database.parent / "mlartifacts"


def test_an_experiment_is_made_once_and_found_again(uri):
    with connect(uri) as store:
        assert store.experiment("cards") == store.experiment("cards")


def test_an_experiment_that_was_deleted_is_not_revived_silently(uri):
    with connect(uri) as store:
        store.client.delete_experiment(store.experiment("cards"))
        with pytest.raises(PokeflowError, match="'cards' was deleted"):
            store.experiment("cards")


def test_nothing_of_mlflows_process_wide_state_is_touched(uri):
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    with connect(uri) as store:
        store.client.create_run(store.experiment("cards"))

    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
    assert mlflow.active_run() is None


@pytest.mark.slow
def test_telemetry_is_off_in_a_process_that_uses_the_plugin(tmp_path):
    code = (
        "import sys\n"
        "from pokeflow_mlflow.connection import connect\n"
        f"with connect('sqlite:///{tmp_path}/mlflow.db'): pass\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_an_address_relative_to_this_folder_stays_the_same_database_elsewhere(database, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with connect("sqlite:///store/mlflow.db") as store:
        number = store.experiment("cards")
    monkeypatch.chdir("/")
    with connect(f"sqlite:///{database}") as store:
        assert store.client.get_experiment(number).name == "cards"


def test_a_password_shows_in_no_error_and_no_log(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(PokeflowError, match=r"MLflow at http://127\.0\.0\.1:9") as caught,
        connect("http://ash:pikachu@127.0.0.1:9") as store,
    ):
        store.experiment("cards")

    assert "pikachu" not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


def test_a_file_that_is_no_database_is_told_in_a_sentence(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be looked at. " * 50)
    # MLflow waits and tries again before it gives up; that it has gone wrong is all that matters here.
    with pytest.raises(PokeflowError, match="MLflow at sqlite:"), connect(f"sqlite:///{tmp_path}/mlflow.db") as store:
        store.experiment("cards")


def test_a_store_that_another_process_holds_is_given_up_in_the_end(uri, database, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.1)
    with (
        FileLock(f"{database}.lock"),
        pytest.raises(PokeflowError, match=r"mlflow\.db\.lock: another process"),
        connect(uri),
    ):
        pass


def test_endpoint_and_region_are_told_unless_they_were_told_before(uri, monkeypatch):
    told = ("MLFLOW_S3_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    for name in told:
        monkeypatch.setenv(name, "")  # so that what is set here is gone afterwards
        monkeypatch.delenv(name)
    with connect(uri):
        assert not set(told) & set(os.environ)
    with connect(uri, endpoint="http://127.0.0.1:9000", region="us-east-2"):
        assert [os.environ[name] for name in told] == ["http://127.0.0.1:9000", "us-east-2"]
    with connect(uri, endpoint="http://127.0.0.1:9001"):
        assert os.environ["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:9000"


ARN = "arn:aws:sagemaker:us-east-2:123456789012:mlflow-tracking-server/cards"


def test_requests_to_sagemaker_are_signed_for_the_server_of_the_arn_and_no_other_afterwards(monkeypatch):
    # sagemaker-mlflow asks MLflow's process-wide address which server it signs for.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    with connection._with_tracking_uri(ARN):
        assert os.environ["MLFLOW_TRACKING_URI"] == ARN
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://elsewhere"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(OSError, match="away"), connection._with_tracking_uri(ARN):
        raise OSError("away")
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_server_by_arn_is_spoken_to_through_sagemakers_own_package(served, monkeypatch, tmp_path):
    pytest.importorskip("sagemaker_mlflow", reason="the plugin's extra `sagemaker`")
    served.start(artifacts=("--no-serve-artifacts", "--default-artifact-root", (tmp_path / "kept").as_uri()))
    for name, value in {
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": served.address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    with connect(ARN) as store:
        run = store.client.create_run(store.experiment("cards")).info.run_id
        store.client.log_text(run, "# fine", "summary.md")

    with connect(served.address) as store:
        assert [artifact.path for artifact in store.client.list_artifacts(run)] == ["summary.md"]
