"""Test the migration of experiments by a tracking system's plugin: its arguments, checks and results."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from pokeflow import PokeflowError
from pokeflow.errors import ConfigError
from pokeflow.project import receipts
from pokeflow_migrate import experiments
from pokeflow_migrate import plan as plans
from pokeflow_migrate.commands import migrate as command
from pokeflow_migrate.report import Row
from pokeflow_migrate.run import Outcome, migrate
from pokeflow_testkit.handmade import empty
from pokeflow_testkit.migrate_support import PLAN, old_project, run, state, tree_folder, write_plan

TRACKING = {"uri": "toy://there", "project": "pokemon", "endpoint": None}
ROW = Row("a#run 1", "b#run 2", 3, "", "", "run copied", verified="1 params")
Check = Callable[["Toy"], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a plugin that migrates experiments."""

    source: str = "toy://old"
    target: str = "toy://there"
    rows: Sequence[Row] = (ROW,)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {"runs": (1, 1)})
    left: Sequence[tuple[str, str]] = ()
    problems: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Toy:
    """A plugin that migrates experiments, with a configurable check and report."""

    arguments: dict[str, Any]
    report: Report
    checker: Check | None
    runs: list[bool] = field(default_factory=list)

    def check(self) -> Iterable[tuple[str, str]]:
        return self.checker(self) if self.checker else ()

    def run(self, work: Path, *, dry_run: bool) -> Report:
        assert not list(work.iterdir())
        self.runs.append(dry_run)
        return self.report


@dataclass(frozen=True, slots=True)
class Installed:
    """A double of an entry point."""

    name: str
    open: Callable[..., Toy]
    value: str = "toy:open"

    def load(self) -> Callable[..., Toy]:
        return self.open


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Toy]]:
    """Install a plugin with this check and report; return the list of migrations that it opens."""

    def install(check: Check | None = None, **answer: Any) -> list[Toy]:
        opened: list[Toy] = []

        def open_migration(source: str, destination: str, **more: Any) -> Toy:
            opened.append(Toy({"source": source, "destination": destination, **more}, Report(**answer), check))
            return opened[-1]

        entries = {experiments.GROUP: [Installed(experiments.NAME, open_migration)]}
        monkeypatch.setattr(experiments.metadata, "entry_points", lambda group: entries[group])
        return opened

    return install


def brought(root: Path, tracking: Mapping[str, Any] = TRACKING, *, dry_run: bool = False, **changes: Any) -> Outcome:
    changes = {"mlflow": [{"from": "mlruns", "experiments": {"1": "teacher", "0": None}}], **changes}
    file = write_plan(root, **changes)
    return migrate(plans.load(file), root, empty(root), root / "store", tracking, dry_run=dry_run)


def test_plugin_receives_source_and_destination(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    opened = toy()
    outcome = brought(tmp_path)
    assert [migration.arguments for migration in opened] == [
        {
            "source": "mlruns",
            "destination": "toy://there",
            "base": tmp_path,
            "experiments": {"1": "teacher", "0": None},
            "artifacts": {},
            "source_endpoint": None,
            "source_region": None,
            "endpoint": None,
            "region": None,
        }
    ]
    assert opened[0].runs == [False]
    assert outcome.experiments[0].counts == {"runs": (1, 1)}
    assert outcome.experiments[0].rows[0].done == "run copied"
    assert outcome.changed


def test_receipt_of_the_migration_has_the_counts(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy()
    brought(tmp_path)
    receipt = next(r for r in receipts.read_all(empty(tmp_path).objects) if r.unit == "migrations/old")
    assert receipt.facts["mlflow"] == [{"from": "toy://old", "to": "toy://there", "counts": {"runs": [1, 1]}}]
    assert "toy://old" in str(receipt.origin)


def test_plan_with_only_experiments_needs_no_files(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    toy()
    alone: dict[str, Any] = {"sources": {}, "copy": [], "models": {}, "links": {}}
    assert brought(tmp_path, **alone).problems == []
    before = state(tree_folder(empty(tmp_path)))
    assert brought(tmp_path, **alone).receipts == ["metadata/receipts/migrations/old.json"]
    assert state(tree_folder(empty(tmp_path))) == before


def test_migration_problems_are_reported_without_a_receipt(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy(problems=[("run 1 of teacher", "param 'lr' is missing")], left=[("run 9", "deleted in MLflow")])
    outcome = brought(tmp_path)
    assert [(fault.path, fault.message) for fault in outcome.problems] == [
        ("run 1 of teacher", "param 'lr' is missing")
    ]
    assert ("run 9", "deleted in MLflow") in outcome.left
    assert receipts.read_all(empty(tmp_path).objects) == ()


def test_dry_run_writes_nothing(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    opened = toy(rows=[replace(ROW, done="run to copy")])
    outcome = brought(tmp_path, dry_run=True)
    assert opened[0].runs == [True]
    assert not (tmp_path / "store").exists()
    assert outcome.experiments[0].rows[0].done == "run to copy"


def test_faults_of_the_plugins_check_stop_before_any_copy(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy(check=lambda toy: [("source", f"there is no folder {toy.arguments['source']}"), ("destination", "is away")])
    with pytest.raises(ConfigError) as error:
        brought(tmp_path, copy=[*PLAN["copy"], {"source": "old", "match": "no/*", "to": "x/"}])
    assert "mlflow[0].from: there is no folder mlruns" in str(error.value)
    assert "tracking.uri: is away" in str(error.value)
    assert "copy[3].match: 'no/*' matches nothing" in str(error.value)
    assert not tree_folder(empty(tmp_path)).exists()


def test_unreachable_source_is_reported_by_its_key_in_the_plan(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    def away(toy: Toy) -> Iterable[tuple[str, str]]:
        raise PokeflowError("MLflow at http://old: is away")

    toy(check=away)
    with pytest.raises(ConfigError, match=r"mlflow\[0\].from: MLflow at http://old: is away"):
        brought(tmp_path, sources={}, copy=[], models={}, links={})


def test_missing_tracking_store_or_plugin_is_reported(
    tmp_path: Path, toy: Callable[..., list[Toy]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old_project(tmp_path)
    toy()
    with pytest.raises(ConfigError, match="mlflow: no tracking store is configured"):
        brought(tmp_path, tracking={})
    monkeypatch.setattr(experiments.metadata, "entry_points", lambda group: [])
    with pytest.raises(
        ConfigError, match=r"mlflow: no plugin that migrates experiments of 'mlflow'. .*pokeflow-mlflow"
    ):
        brought(tmp_path)


def test_plugin_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(experiments.NAME, "no_such_package.migration:Migration", experiments.GROUP)
    monkeypatch.setattr(experiments.metadata, "entry_points", lambda group: [entry])
    with pytest.raises(PokeflowError, match=r"no_such_package\.migration:Migration, which migrates experiments"):
        brought(tmp_path)


def test_files_of_a_killed_run_are_removed(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy()
    left = tmp_path / "store/migrations/old/mlflow/source.db"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    assert brought(tmp_path).problems == []
    assert not left.parent.exists()


def test_both_sides_and_all_rows_are_reported(
    tmp_path: Path, toy: Callable[..., list[Toy]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(counts={"runs": (1200, 1199)}, problems=[("run 7", "is missing")])
    outcome = brought(tmp_path, sources={}, copy=[], models={}, links={})
    output = command._format_outcome(outcome)
    assert "toy://old → toy://there: run copied: 1" in output
    assert any(line.split() == ["runs", "1,200", "1,199"] for line in output.splitlines())
    assert "could not be migrated:\n  run 7: is missing" in output
    summary = command._summary(outcome)
    assert summary["mlflow"][0]["counts"] == {"runs": (1200, 1199)}
    assert summary["complete"] is False


def test_plan_without_experiments_does_not_use_tracking(tmp_path: Path) -> None:
    old_project(tmp_path)
    outcome = run(tmp_path)
    assert outcome.experiments == []


@pytest.mark.parametrize("entry", entry_points(group=experiments.GROUP), ids=lambda entry: entry.name)
def test_installed_plugin_has_the_expected_signature(entry: EntryPoint) -> None:
    expected = inspect.signature(experiments.OpenMigration.__call__).parameters.keys() - {"self"}
    assert inspect.signature(entry.load()).parameters.keys() == expected
