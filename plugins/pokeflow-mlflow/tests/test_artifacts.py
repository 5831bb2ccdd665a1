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
def artifacts(task, made, uri):
    """Tracks a task with the given files and changes; the folder of its run's artifacts."""

    def of(files, params=None, **changes):
        facts = track.run(
            task("track", TrackParams(uri, project="cards", **(params or {})), made(files, **changes))
        ).facts
        with connect(uri) as store:
            where = store.client.get_run(facts["run_id"]).info.artifact_uri
        return Path(where.removeprefix("file://"))

    return of


def names(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_everything_the_specification_names_is_found_in_the_run(artifacts):
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


def test_a_link_says_where_a_checkpoint_is_here_and_in_the_bucket(artifacts):
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


def test_a_bucket_that_has_another_making_of_it_is_no_place_of_this_one(artifacts):
    other = '{"where": "s3://cards/shared", "started": "2025-01-01T00:00:00.000+00:00"}'
    assert json.loads((artifacts({"shared.json": other}) / "links.json").read_text())["uri"] is None


def test_an_array_of_another_stage_may_hold_pictures_and_stays_where_it_is(artifacts):
    folder = artifacts({"references.npy": b"\x93NUMPY"}, stage="prepare", task="prepare:data", model="data")

    assert names(folder) == {"record.json", "links.json"}


def test_what_is_larger_than_asked_for_is_a_link_unless_all_is_asked_for(artifacts):
    files = {"references.npy": b"x" * 2000, "telemetry/tensorboard/events": b"x" * 2000}
    folder = artifacts(files, {"file_mb": 0.001})
    assert names(folder) == {"record.json", "links.json"}
    assert len(json.loads((folder / "links.json").read_text())["files"]) == 2

    folder = artifacts(files, {"file_mb": 0.001, "log_artifacts": True}, digest="d2")
    assert names(folder) == {"record.json", "links.json", "embeddings/references.npy", "tensorboard/events"}


def test_of_a_long_log_the_end_is_there_and_says_that_it_is_the_end(artifacts):
    text = (artifacts({"log.txt": "a" * TEXT_BYTES + "the end\n"}) / "log.txt").read_text()

    assert text.startswith(f"… the last {TEXT_BYTES:,} of {TEXT_BYTES + 8:,} characters; the full log is ")
    assert text.endswith("athe end\n")


def test_no_secret_reaches_any_artifact_or_tag(artifacts, uri, database):
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
def test_a_file_without_secrets_stays_as_it_is_to_the_letter(suffix, text):
    assert without_secrets(suffix, text) == text
