"""Experiments of any MLflow store are migrated completely: MLflow's client reads the same from both stores."""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pokeflow_testkit import mlruns
from pokeflow_testkit.migrate_support import state
from pokeflow_testkit.mlruns import Bring
from pokeflow_testkit.support import POKEFLOW, TOY_FLOW, environment


def outcomes(report: dict[str, Any]) -> list[str]:
    return sorted({row["done"] for row in report["rows"]})


def counts_agree(report: dict[str, Any]) -> bool:
    return all(source == there for source, there in report["counts"].values())


@pytest.mark.slow
def test_folder_is_migrated_completely(
    tmp_path: Path, old_runs: Path, old_contents: dict[str, Any], uri: str, bring: Bring
) -> None:
    old = Path(shutil.copytree(old_runs, tmp_path / "mlruns"))
    before = state(old)
    report = bring("mlruns", uri)
    assert report["problems"] == []
    assert mlruns.read(uri) == old_contents
    assert state(old) == before
    assert counts_agree(report)
    assert report["counts"]["metric points"] == [mlruns.POINTS + 5 + 1] * 2
    assert report["counts"]["runs"] == [3, 3]
    assert {why for _, why in report["left"]} == {"deleted in MLflow"}
    # The folder was moved: its addresses point to the old location, from which nothing may be read.
    assert str(old_runs) not in json.dumps(report)


@pytest.mark.slow
def test_second_migration_changes_nothing(
    tmp_path: Path, old_runs: Path, database: Path, uri: str, bring: Bring
) -> None:
    first = bring(str(old_runs), uri)
    before, dump = state(tmp_path / "store"), list(sqlite3.connect(database).iterdump())
    again = bring(str(old_runs), uri)
    assert outcomes(again) == ["model there already", "run there already", "version there already"]
    assert again["counts"] == first["counts"]
    assert list(sqlite3.connect(database).iterdump()) == dump
    files = {path: entry for path, entry in state(tmp_path / "store").items() if "mlartifacts/" in path}
    assert files == {path: entry for path, entry in before.items() if "mlartifacts/" in path}


@pytest.mark.long
def test_database_migrates_to_a_server_and_back(tmp_path: Path, template: Path, server: str, bring: Bring) -> None:
    (tmp_path / "old").mkdir()
    old = Path(shutil.copy(template, tmp_path / "old/mlflow.db"))
    mlruns.make(f"sqlite:///{old}")
    wanted, before = mlruns.read(f"sqlite:///{old}"), state(old.parent)
    report = bring("sqlite:///old/mlflow.db", server)
    assert report["problems"] == []
    assert counts_agree(report)
    assert mlruns.read(server) == wanted
    assert state(old.parent) == before
    (tmp_path / "new").mkdir()
    new = f"sqlite:///{shutil.copy(template, tmp_path / 'new/mlflow.db')}"
    assert bring(server, new)["problems"] == []
    assert mlruns.read(new) == wanted
    assert outcomes(bring(server, new)) == ["model there already", "run there already", "version there already"]


@pytest.mark.slow
def test_moved_folder_of_an_old_mlflow_is_migrated_completely(tmp_path: Path, uri: str, bring: Bring) -> None:
    mlruns.handmade(tmp_path)
    report = bring("mlruns", uri, experiments={"1": "pokemon-card-dinov3-teacher"})
    assert report["problems"] == []
    assert counts_agree(report)
    there = mlruns.read(uri)
    assert set(there["experiments"]) == {"pokemon-card-dinov3-teacher", "students"}
    assert sorted(run["about"][0] for run in there["runs"]) == ["1-a1", "1-b2", "1-c3", "2-a1", "2-b2"]
    first = next(run for run in there["runs"] if run["about"][0] == "2-a1")
    assert first["about"] == ["2-a1", "FINISHED", 1767000000000, 1768000000000, "unknown"]
    # A duplicate point is migrated once.
    assert first["metrics"]["loss"] == [[1768000000000, 0, "0.5"], [1768000000001, 1, "0.25"]]
    assert first["metrics"]["old"] == [[1768000000000, 0, "0.5"]]
    assert first["artifacts"] == {"model/weights.bin": mlruns.hashlib.sha256(b"weights of 2/a1").hexdigest()}
    [version] = there["registry"]["card"]["versions"]
    assert version[2:4] == ["Production", "1-a1"]
    assert any("it is version 1 in the target" in row["note"] for row in report["rows"])


@pytest.mark.slow
def test_excluded_experiments_and_their_dependents_are_skipped(
    tmp_path: Path, old_runs: Path, uri: str, bring: Bring
) -> None:
    report = bring(str(old_runs), uri, experiments={"teachers": None, "students": "pupils", "empty": None})
    assert report["problems"] == []
    there = mlruns.run_names(uri)
    assert there == {"pupils": ["child", "still running"]}
    left = dict(report["left"])
    assert left["experiment teachers"] == "left out by the plan"
    assert sum("its parent" in what for what in left) == 1
    assert sum("its logged model" in what for what in left) == 1
    assert sum("version" in what and "was not copied" in why for what, why in left.items()) == 2


@pytest.mark.slow
def test_dry_run_counts_without_creating_a_database(tmp_path: Path, old_runs: Path, bring: Bring) -> None:
    report = bring(str(old_runs), f"sqlite:///{tmp_path}/new/mlflow.db", dry_run=True)
    assert not (tmp_path / "new").exists()
    assert report["counts"]["runs"] == [3, 0]
    assert outcomes(report) == ["run to copy"]
    assert report["counts"]["artifact bytes"][0] > 2 * len(mlruns.WEIGHTS)


@pytest.mark.slow
def test_later_changes_in_the_target_are_kept(old_runs: Path, uri: str, bring: Bring) -> None:
    from mlflow import MlflowClient

    bring(str(old_runs), uri)
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("teachers")
    [run] = client.search_runs([experiment.experiment_id])
    client.set_tag(run.info.run_id, "quality", "excellent")
    client.log_metric(run.info.run_id, "later", 1.0)
    client.set_registered_model_alias("card-net", "champion", "1")
    client.update_registered_model("card-net", "another")
    again = bring(str(old_runs), uri)
    assert again["problems"] == []
    assert client.get_run(run.info.run_id).data.tags["quality"] == "excellent"
    assert str(client.get_model_version_by_alias("card-net", "champion").version) == "1"
    notes = " ".join(row["note"] for row in again["rows"])
    assert "tag 'quality' is 'excellent' in the target, but 'good' in the source" in notes
    assert "1 more metric points in the target" in notes
    assert "it is set to version 1 in the target, which is kept" in dict(again["left"]).values()


@pytest.mark.slow
def test_lost_data_are_restored_and_changed_data_reported(
    old_runs: Path, database: Path, uri: str, bring: Bring
) -> None:
    bring(str(old_runs), uri)
    store = sqlite3.connect(database)
    store.execute("DELETE FROM metrics WHERE key = 'train/loss' AND step = 5")
    store.execute("DELETE FROM tags WHERE key = 'quality'")
    store.execute("UPDATE params SET value = '0.002' WHERE key = 'optim/lr'")
    store.commit()
    store.close()
    next((database.parent / "mlartifacts").rglob("read me.txt")).unlink()
    report = bring(str(old_runs), uri)
    [(where, what)] = report["problems"]
    assert where.endswith(" of teachers")
    assert what == "param 'optim/lr' is '0.002' in the target, but '0.001' in the source"
    assert outcomes(report) == ["model there already", "run failed", "run there already", "version there already"]
    assert report["counts"]["metric points"][0] == report["counts"]["metric points"][1]
    assert list((database.parent / "mlartifacts").rglob("read me.txt"))


@pytest.mark.slow
def test_run_continued_in_the_source_is_updated(tmp_path: Path, uri: str, bring: Bring) -> None:
    old = mlruns.handmade(tmp_path)
    meta = old / "1/a1/meta.yaml"
    text = meta.read_text()
    meta.write_text(text.replace("status: 3", "status: 1").replace("end_time: 1768000000000", "end_time: null"))
    bring("mlruns", uri)
    meta.write_text(text)
    (old / "1/a1/metrics/loss").write_text("1768000000000 0.5 0\n1768000000001 0.25 1\n1768000000009 0.125 2\n")
    assert bring("mlruns", uri)["problems"] == []
    run = next(run for run in mlruns.read(uri)["runs"] if run["about"][0] == "1-a1")
    assert run["about"][1:4] == ["FINISHED", 1767000000000, 1768000000000]
    assert len(run["metrics"]["loss"]) == 3


@pytest.mark.slow
def test_sources_may_share_an_experiment_name(tmp_path: Path, uri: str, bring: Bring) -> None:
    mlruns.handmade(tmp_path / "one")
    mlruns.handmade(tmp_path / "two")
    bring("one/mlruns", uri)
    assert bring("two/mlruns", uri)["problems"] == []
    assert mlruns.run_names(uri)["students"] == ["2-a1", "2-a1", "2-b2", "2-b2"]
    assert len(mlruns.read(uri)["registry"]["card"]["versions"]) == 2


@pytest.mark.slow
def test_command_compares_counts_and_exits_1_on_difference(tmp_path: Path, template: Path) -> None:
    old = mlruns.handmade(tmp_path)
    shutil.copy(template, tmp_path / "mlflow.db")
    (tmp_path / "plan.yaml").write_text("name: old\nmlflow:\n  - {from: mlruns, experiments: {'1': teachers}}\n")
    tracking = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "tracking.experiments={}")

    def pokeflow(*args: str) -> subprocess.CompletedProcess[str]:
        command = [POKEFLOW, "migrate", "plan.yaml", *args, *TOY_FLOW, *tracking]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
        )

    dry = pokeflow("--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "run to copy: 5" in dry.stdout
    ran = pokeflow()
    assert ran.returncode == 0, ran.stderr
    assert ["metric", "points", "15", "15"] in [line.split() for line in ran.stdout.splitlines()]
    summary = json.loads((tmp_path / "store/migrations/old/report.json").read_bytes())
    assert summary["complete"]
    assert summary["mlflow"][0]["totals"]["run copied"]["files"] == 5
    (old / "1/a1/params/lr").write_text("0.5")
    again = pokeflow()
    assert again.returncode == 1
    assert "run a1 of teacher-runs: param 'lr' is '0.001' in the target, but '0.5' in the source" in again.stdout
    assert "no receipt was written" in again.stdout
    (tmp_path / "plan.yaml").write_text("name: old\nmlflow:\n  - {from: mlruns, experiments: {'7': teachers}}\n")
    wrong = pokeflow()
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert (
        "mlflow[0].experiments.7: no experiment in the source with id or name '7'. Known: 1 (teacher-runs)"
        in wrong.stderr
    )
