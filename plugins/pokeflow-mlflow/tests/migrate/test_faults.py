"""Entities that cannot be migrated are reported by name, and a hostile source store does no harm."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokeflow import PokeflowError
from pokeflow_mlflow.migrate.migration import Migration
from pokeflow_testkit import mlruns
from pokeflow_testkit.migrate_support import state
from pokeflow_testkit.mlruns import Bring


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return mlruns.handmade(tmp_path)


def faults(tmp_path: Path, source: str, uri: str = "sqlite:///new.db", **more: Any) -> dict[str, str]:
    return dict(Migration(source, uri, tmp_path, **more).check())


SOURCES = [
    ("nowhere", "the folder {0}/nowhere does not exist"), ("sqlite:///no.db", "the file {0}/no.db does not exist"),
    ("sqlit:///x.db", "no source of experiments with scheme 'sqlit'. Did you mean 'sqlite'?"),
    ("https://", "names no host"), ("", "is empty"), ("gs://bucket/x", "Known: file, http, https, s3, sqlite"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "fault"), SOURCES)
def test_invalid_source_is_reported(tmp_path: Path, source: str, fault: str) -> None:
    assert fault.format(tmp_path) in faults(tmp_path, source)["source"]


def test_unknown_experiment_is_reported_with_known_ones(tmp_path: Path, old: Path) -> None:
    messages = faults(tmp_path, "mlruns", experiments={"7": "x", "students": "y", "1": ""})
    assert messages["experiments.7"] == (
        "no experiment in the source with id or name '7'. Known: 1 (teacher-runs), 2 (students)."
    )
    assert messages["experiments.1"] == "is empty"
    assert "experiments.students" not in messages


def test_folder_or_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"a")
    with pytest.raises(PokeflowError, match="not an MLflow file store"):
        faults(tmp_path, "photos")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one" * 20)
    with pytest.raises(PokeflowError, match="not a SQLite database"):
        faults(tmp_path, "sqlite:///text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE cards (id)").connection.close()
    with pytest.raises(PokeflowError, match="not an MLflow database"):
        faults(tmp_path, "sqlite:///other.db")


def test_unreachable_server_is_reported(tmp_path: Path, old: Path, bring: Bring) -> None:
    with pytest.raises(PokeflowError, match=r"127\.0\.0\.1:9"):
        faults(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(PokeflowError, match=r"127\.0\.0\.1:9"):
        bring("mlruns", "http://127.0.0.1:9")


HOSTILE: list[tuple[str, Callable[[Path], object], str]] = [
    ("a description that is no YAML", lambda run: (run / "meta.yaml").write_text("a: [b"), "invalid YAML"),
    ("one that would run code", lambda run: (run / "meta.yaml").write_text("a: !!python/object/apply:os.system [ls]"),
     "invalid YAML"),
    ("one that is no mapping", lambda run: (run / "meta.yaml").write_text("- a"), "is not a mapping"),
    ("one that grows", lambda run: (run / "meta.yaml").write_text("a: &a [x]\nb: *a\n"), "YAML aliases"),
    ("one of brackets", lambda run: (run / "meta.yaml").write_text("[" * 100_000), "nested more than 20 levels deep"),
    ("a huge one", lambda run: (run / "meta.yaml").write_bytes(b"a: " + b"x" * (1 << 20)), "at most 1,048,576"),
    ("a parameter that is no text", lambda run: (run / "params/lr").write_bytes(b"\xff\xfe"), "not UTF-8"),
    ("a huge tag", lambda run: (run / "tags/t").write_bytes(b"x" * 2_000_000), "at most 1,048,576"),
    ("a tag longer than MLflow's", lambda run: (run / "tags/t").write_text("x" * 9000), "tag 't' is"),
    ("a torn line of a metric", lambda run: (run / "metrics/loss").write_text("1768000000000 0.5 0\n17680"),
     "line 2 is not a point of a metric"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("what", "spoil", "fault"), HOSTILE, ids=[what for what, *_ in HOSTILE])
def test_unreadable_run_is_reported_and_others_are_migrated(
    tmp_path: Path,
    old: Path,
    uri: str,
    bring: Bring,
    what: str,
    spoil: Callable[[Path], object],
    fault: str,
) -> None:
    spoil(old / "1/b2")
    report = bring("mlruns", uri)
    assert fault in json.dumps(report["problems"])
    assert "b2" in json.dumps(report["problems"])
    assert len(mlruns.read(uri)["runs"]) >= 4


@pytest.mark.slow
def test_links_are_not_followed(tmp_path: Path, old: Path, uri: str, bring: Bring) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    (old / "1/a1/artifacts/leads_out").symlink_to(tmp_path / "secret")
    (old / "1/a1/params/key").symlink_to(tmp_path / "secret/key")
    (old / "1/link").symlink_to(old / "2/a1")
    report = bring("mlruns", uri)
    assert report["problems"] == []
    assert sum(why == "a link, which is not followed" for _, why in report["left"]) == 3
    assert "secret" not in json.dumps(mlruns.read(uri)["runs"])
    assert len(mlruns.read(uri)["runs"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "location", ["file://{0}/secret", "{0}/secret", "{0}/old/../secret", "file://{0}/old/%2e%2e/secret"]
)
def test_artifacts_outside_the_source_need_permission(
    tmp_path: Path,
    template: Path,
    uri: str,
    bring: Bring,
    location: str,
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    mlruns.handmade(tmp_path / "old")
    meta = tmp_path / "old/mlruns/1/b2/meta.yaml"
    lines = [line for line in meta.read_text().splitlines() if not line.startswith("artifact_uri")]
    meta.write_text("\n".join([*lines, f"artifact_uri: {location.format(tmp_path)}"]))
    mlruns.shutil.rmtree(tmp_path / "old/mlruns/1/b2/artifacts")
    report = bring("old/mlruns", uri)
    [(where, why)] = report["problems"]
    assert "run b2 of teacher-runs" in where
    assert "outside of the source" in why
    assert "key" not in json.dumps(report["rows"])
    granted = bring("old/mlruns", uri, artifacts={location.format(tmp_path): "secret"})
    assert granted["problems"] == []
    assert {"key": mlruns.hashlib.sha256(b"secret").hexdigest()} in [r["artifacts"] for r in mlruns.read(uri)["runs"]]


def test_nothing_is_written_outside_the_target(tmp_path: Path, old: Path, uri: str, bring: Bring) -> None:
    before = state(old)
    (old / "1/a1/metrics/..%2f..%2fescape").write_text("1768000000000 0.5 0\n")
    bring("mlruns", uri)
    (old / "1/a1/metrics/..%2f..%2fescape").unlink()
    assert {k: v[0] for k, v in state(old).items()} == {k: v[0] for k, v in before.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "mlruns", "store", "work"]
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.slow
def test_moved_artifacts_are_reported_and_can_be_mapped(tmp_path: Path, template: Path, uri: str, bring: Bring) -> None:
    from mlflow import MlflowClient

    (tmp_path / "old").mkdir()
    source = f"sqlite:///{mlruns.shutil.copy(template, tmp_path / 'old/mlflow.db')}"
    client = MlflowClient(source, source)
    experiment = client.create_experiment("cards", f"file://{tmp_path}/old/artifacts")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "x", "a/x.txt")
    (tmp_path / "old/artifacts").rename(tmp_path / "moved")
    report = bring("sqlite:///old/mlflow.db", uri)
    assert [why.partition(",")[0] for _, why in report["left"]] == ["the folder does not exist"]
    moved = {f"{tmp_path}/old/artifacts": "moved", f"file://{tmp_path}/old/artifacts": "moved"}
    assert faults(tmp_path, source, artifacts={"s3://x": "no"}) == {
        "artifacts.s3://x": f"the folder {tmp_path}/no does not exist"
    }
    assert bring("sqlite:///old/mlflow.db", uri, artifacts=moved)["left"] == []
    [brought] = mlruns.read(uri)["runs"]
    assert list(brought["artifacts"]) == ["a/x.txt"]
