"""Experiments are brought by the tracking plugin's backend: it is told where from and where to, and its word counts."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handmade import empty
from migrate_support import PLAN, old_project, run, state, tree_folder, write_plan
from pokeflow import Backend, PokeflowError, Result, Task, plugins
from pokeflow.errors import ConfigError
from pokeflow.project import _receipts as receipts
from pokeflow_migrate import command, experiments
from pokeflow_migrate import plan as plans
from pokeflow_migrate.run import Outcome, migrate

TRACKING = {"uri": "toy://there", "project": "pokemon", "endpoint": None}
ROW = {"source": "a#run 1", "target": "b#run 2", "size": 3, "done": "run copied", "verified": "1 params", "note": ""}
ANSWER: Mapping[str, Any] = {
    "from": "toy://old", "to": "toy://there", "rows": [ROW], "counts": {"runs": [1, 1]}, "left": [], "problems": [],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Params:
    """What every backend of the stage is given."""

    source: str
    uri: str
    base: str
    experiments: dict[str, str | None] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None
    region: str | None = None
    source_endpoint: str | None = None
    source_region: str | None = None
    dry_run: bool = False


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Task]]:
    """Installs a backend that answers so, and checks so; returns the tasks that it is given."""

    def install(check: Callable[[Params], Iterable[tuple[str, str]]] | None = None, **answer: Any) -> list[Task]:
        tasks: list[Task] = []

        def bring(task: Task) -> Result:
            tasks.append(task)
            assert not list(task.output.iterdir())
            (task.output / experiments.FILE).write_text(json.dumps({**ANSWER, **answer}))
            return Result()

        backend = Backend(experiments.NAME, experiments.STAGE, bring, Params, check=check)
        registry = plugins.Registry({(backend.stage, backend.name): backend}, {})
        monkeypatch.setattr(experiments.plugins, "registry", lambda _: registry)
        return tasks

    return install


def brought(root: Path, tracking: Mapping[str, Any] = TRACKING, *, dry_run: bool = False, **changes: Any) -> Outcome:
    changes = {"mlflow": [{"from": "mlruns", "experiments": {"1": "teacher", "0": None}}], **changes}
    file = write_plan(root, **changes)
    return migrate(plans.load(file), root, empty(root), root / "store", tracking, dry_run=dry_run)


def test_a_backend_is_told_where_from_and_where_to(tmp_path: Path, toy: Callable[..., list[Task]]) -> None:
    old_project(tmp_path)
    tasks = toy()
    outcome = brought(tmp_path)
    assert [task.params for task in tasks] == [
        Params("mlruns", "toy://there", str(tmp_path), {"1": "teacher", "0": None})
    ]
    assert outcome.experiments[0].counts == {"runs": (1, 1)}
    assert outcome.experiments[0].rows[0].done == "run copied"
    assert outcome.changed


def test_the_migration_s_receipt_tells_what_was_counted(tmp_path: Path, toy: Callable[..., list[Task]]) -> None:
    old_project(tmp_path)
    toy()
    brought(tmp_path)
    receipt = next(r for r in receipts.read_all(empty(tmp_path).objects) if r.unit == "migrations/old")
    assert receipt.facts["mlflow"] == [{"from": "toy://old", "to": "toy://there", "counts": {"runs": [1, 1]}}]
    assert "toy://old" in str(receipt.origin)


def test_a_plan_of_experiments_alone_needs_no_files(tmp_path: Path, toy: Callable[..., list[Task]]) -> None:
    toy()
    alone: dict[str, Any] = {"sources": {}, "copy": [], "models": {}, "links": {}}
    assert brought(tmp_path, **alone).problems == []
    before = state(tree_folder(empty(tmp_path)))
    assert brought(tmp_path, **alone).receipts == ["metadata/receipts/migrations/old.json"]
    assert state(tree_folder(empty(tmp_path))) == before


def test_what_could_not_be_brought_is_told_and_no_receipt_is_written(
    tmp_path: Path, toy: Callable[..., list[Task]]
) -> None:
    old_project(tmp_path)
    toy(problems=[["run 1 of teacher", "param 'lr' is missing"]], left=[["run 9", "deleted in MLflow"]])
    outcome = brought(tmp_path)
    assert [(fault.path, fault.message) for fault in outcome.problems] == [
        ("run 1 of teacher", "param 'lr' is missing")
    ]
    assert ("run 9", "deleted in MLflow") in outcome.left
    assert receipts.read_all(empty(tmp_path).objects) == ()


def test_a_dry_run_writes_nothing(tmp_path: Path, toy: Callable[..., list[Task]]) -> None:
    old_project(tmp_path)
    tasks = toy(rows=[{**ROW, "done": "run to copy"}])
    outcome = brought(tmp_path, dry_run=True)
    assert tasks[0].params.dry_run
    assert not (tmp_path / "store").exists()
    assert outcome.experiments[0].rows[0].done == "run to copy"


def test_what_its_check_finds_stops_it_before_anything_is_copied(
    tmp_path: Path, toy: Callable[..., list[Task]]
) -> None:
    old_project(tmp_path)
    toy(check=lambda params: [("source", f"there is no folder {params.source}"), ("uri", "is away")])
    with pytest.raises(ConfigError) as error:
        brought(tmp_path, copy=[*PLAN["copy"], {"source": "old", "match": "no/*", "to": "x/"}])
    assert "mlflow[0].from: there is no folder mlruns" in str(error.value)
    assert "tracking.uri: is away" in str(error.value)
    assert "copy[3].match: 'no/*' finds nothing" in str(error.value)
    assert not tree_folder(empty(tmp_path)).exists()


def test_a_source_that_cannot_be_looked_at_is_told_by_its_place_in_the_plan(
    tmp_path: Path, toy: Callable[..., list[Task]]
) -> None:
    def away(params: Params) -> Iterable[tuple[str, str]]:
        raise PokeflowError("MLflow at http://old: is away")

    toy(check=away)
    with pytest.raises(ConfigError, match=r"mlflow\[0\].from: MLflow at http://old: is away"):
        brought(tmp_path, sources={}, copy=[], models={}, links={})


def test_without_a_tracking_store_or_its_plugin_it_says_so(
    tmp_path: Path, toy: Callable[..., list[Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old_project(tmp_path)
    toy()
    with pytest.raises(ConfigError, match="mlflow: the configuration names no tracking store"):
        brought(tmp_path, tracking={})
    monkeypatch.setattr(experiments.plugins, "registry", lambda _: plugins.Registry({}, {}))
    with pytest.raises(ConfigError, match="mlflow: no backend for stage 'migrate' named 'mlflow'"):
        brought(tmp_path)


def test_what_a_kill_left_in_its_folder_is_no_hindrance(tmp_path: Path, toy: Callable[..., list[Task]]) -> None:
    old_project(tmp_path)
    toy()
    left = tmp_path / "store/migrations/old/mlflow/output/migration.json"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    assert brought(tmp_path).problems == []
    assert not left.parent.parent.exists()


def test_both_sides_are_told_and_every_row_is_in_the_report(
    tmp_path: Path, toy: Callable[..., list[Task]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(counts={"runs": [1200, 1199]}, problems=[["run 7", "is missing"]])
    outcome = brought(tmp_path, sources={}, copy=[], models={}, links={})
    told = command._told(outcome)
    assert "toy://old → toy://there: run copied: 1" in told
    assert any(line.split() == ["runs", "1,200", "1,199"] for line in told.splitlines())
    assert "could not be brought:\n  run 7: is missing" in told
    summary = command._summary(outcome)
    assert summary["mlflow"][0]["counts"] == {"runs": (1200, 1199)}
    assert summary["complete"] is False


def test_without_experiments_nothing_is_asked_of_tracking(tmp_path: Path) -> None:
    old_project(tmp_path)
    outcome = run(tmp_path)
    assert outcome.experiments == []
