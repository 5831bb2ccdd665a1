import json
from pathlib import Path

import pytest
import yaml

from pokeflow_mlflow.artifacts import TEXT_BYTES, without_secrets
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.params import TrackParams
from pokeflow_mlflow.stages import track

RUN = yaml.safe_dump(
    {
        "command": "pokeflow data=folder",
        "sweep": None,
        "config": {"store": {"root": "store"}, "data": {"hf_token": "pikachu"}, "at": "https://ash:pikachu@host/x"},
    }
)


@pytest.fixture
def artifacts(task, make_input, uri):
    """Return a function that tracks a task with these files and changes, and returns the run's artifact folder."""

    def of(files, params=None, **changes):
        facts = track.run(
            task("track", TrackParams(uri, project="cards", **(params or {})), make_input(files, **changes))
        ).facts
        with connect(uri) as store:
            where = store.client.get_run(facts["run_id"]).info.artifact_uri
        return Path(where.removeprefix("file://"))

    return of


def names(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_run_has_all_specified_artifacts(artifacts):
    folder = artifacts(
        {
            "telemetry/run.yaml": RUN,
            "telemetry/tensorboard/events.out.tfevents.1": b"\x18\0events",
            "log.txt": "trained\n",
            "distillation_report.json": '{"gap": 0.1}',
            "references.npy": b"\x93NUMPY",
            "history.jsonl": '{"epoch": 1, "loss": 1}\n',
            "weights.pt": b"PK",
        }
    )

    assert names(folder) == {
        "config.yaml",
        "record.json",
        "links.json",
        "log.txt",
        "tensorboard/events.out.tfevents.1",
        "embeddings/references.npy",
        "files/distillation_report.json",
        "files/history.jsonl",
    }
    assert (folder / "tensorboard/events.out.tfevents.1").read_bytes() == b"\x18\0events"
    assert yaml.safe_load((folder / "config.yaml").read_text())["store"] == {"root": "store"}


def test_links_locate_files_locally_and_in_the_bucket(artifacts):
    files = {
        "weights.pt": b"PK",
        "telemetry/steps.jsonl": '{"step": 1, "time": 1, "loss": 1}\n',
        "shared.json": '{"where": "s3://cards/shared", "started": "2026-01-10T13:00:00.000+00:00"}',
    }
    links = json.loads((artifacts(files) / "links.json").read_text())

    assert links["uri"] == "s3://cards/shared/tasks/distill/efficientnet-student-stage1/0123456789abcdef"
    by_path = {file["path"]: file for file in links["files"]}
    assert by_path["weights.pt"] == {"path": "weights.pt", "size": 2, "sha256": "0" * 64}
    assert (Path(links["folder"]) / "telemetry/steps.jsonl").is_file()
    assert by_path["telemetry/steps.jsonl"]["size"] == 34


def test_bucket_copy_of_another_execution_is_not_linked(artifacts):
    other = '{"where": "s3://cards/shared", "started": "2025-01-01T00:00:00.000+00:00"}'
    assert json.loads((artifacts({"shared.json": other}) / "links.json").read_text())["uri"] is None


def test_array_of_another_stage_is_not_uploaded(artifacts):
    folder = artifacts({"references.npy": b"\x93NUMPY"}, stage="prepare", task="prepare:data", model="data")

    assert names(folder) == {"record.json", "links.json"}


def test_large_file_is_linked_unless_log_artifacts_is_set(artifacts):
    files = {"references.npy": b"x" * 2000, "telemetry/tensorboard/events": b"x" * 2000}
    folder = artifacts(files, {"file_mb": 0.001})
    assert names(folder) == {"record.json", "links.json"}
    assert len(json.loads((folder / "links.json").read_text())["files"]) == 2

    folder = artifacts(files, {"file_mb": 0.001, "log_artifacts": True}, digest="d2")
    assert names(folder) == {"record.json", "links.json", "embeddings/references.npy", "tensorboard/events"}


def test_long_log_is_cut_to_its_end_with_a_notice(artifacts):
    text = (artifacts({"log.txt": "a" * TEXT_BYTES + "the end\n"}) / "log.txt").read_text()

    assert text.startswith(f"… the last {TEXT_BYTES:,} of {TEXT_BYTES + 8:,} characters; the full log is ")
    assert text.endswith("athe end\n")


def test_no_secret_reaches_artifacts_or_tags(artifacts, uri, database):
    address = "https://ash:pikachu@mlflow.example.com"
    artifacts(
        {
            "telemetry/run.yaml": RUN,
            "log.txt": f"went to {address}\n",
            "config.json": json.dumps({"api_key": "pikachu", "lr": 1}),
            "rows.jsonl": f'{{"at": "{address}"}}\n{{"password": "pikachu"}}\n',
            "conf.yaml": "secret: pikachu\n",
            "notes.md": f"see https://bucket.s3.amazonaws.com/x?X-Amz-Signature=pikachu and {address}",
        },
        params={},
        facts={"nested": {"secret_key": "pikachu"}, "url": address},
    )

    written = [file for file in database.parent.rglob("*") if file.is_file()]
    assert len(written) >= 8
    assert not [file.name for file in written if b"pikachu" in file.read_bytes()]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", '{ "lr": 1e-3,\n "loss": NaN }'),
        (".json", '{"cut off'),
        (".jsonl", '{"a": 1}\n{"st'),
        (".yaml", "# a comment\na: {b: 1}\n"),
        (".yaml", "a: [\n"),
        (".md", "plain, with a@b.example"),
    ],
)
def test_file_without_secrets_is_unchanged(suffix, text):
    assert without_secrets(suffix, text) == text
