"""Experiments are brought by a tracking system's plugin: it is told where from and where to, and its word counts."""

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
    """What a plugin that brings experiments returns."""

    source: str = "toy://old"
    target: str = "toy://there"
    rows: Sequence[Row] = (ROW,)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {"runs": (1, 1)})
    left: Sequence[tuple[str, str]] = ()
    problems: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Toy:
    """A plugin that brings experiments: it answers, and checks, as it is told."""

    given: dict[str, Any]
    report: Report
    found: Check | None
    runs: list[bool] = field(default_factory=list)

    def check(self) -> Iterable[tuple[str, str]]:
        return self.found(self) if self.found else ()

    def run(self, work: Path, *, dry_run: bool) -> Report:
        assert not list(work.iterdir())
        self.runs.append(dry_run)
        return self.report


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point."""

    name: str
    open: Callable[..., Toy]
    value: str = "toy:open"

    def load(self) -> Callable[..., Toy]:
        return self.open


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Toy]]:
    """Installs a plugin that answers so, and checks so; returns the migrations that it is asked for."""

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


def test_a_plugin_is_told_where_from_and_where_to(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    opened = toy()
    outcome = brought(tmp_path)
    assert [migration.given for migration in opened] == [
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


def test_the_migration_s_receipt_tells_what_was_counted(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy()
    brought(tmp_path)
    receipt = next(r for r in receipts.read_all(empty(tmp_path).objects) if r.unit == "migrations/old")
    assert receipt.facts["mlflow"] == [{"from": "toy://old", "to": "toy://there", "counts": {"runs": [1, 1]}}]
    assert "toy://old" in str(receipt.origin)


def test_a_plan_of_experiments_alone_needs_no_files(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    toy()
    alone: dict[str, Any] = {"sources": {}, "copy": [], "models": {}, "links": {}}
    assert brought(tmp_path, **alone).problems == []
    before = state(tree_folder(empty(tmp_path)))
    assert brought(tmp_path, **alone).receipts == ["metadata/receipts/migrations/old.json"]
    assert state(tree_folder(empty(tmp_path))) == before


def test_what_could_not_be_brought_is_told_and_no_receipt_is_written(
    tmp_path: Path, toy: Callable[..., list[Toy]]
) -> None:
    old_project(tmp_path)
    toy(problems=[("run 1 of teacher", "param 'lr' is missing")], left=[("run 9", "deleted in MLflow")])
    outcome = brought(tmp_path)
    assert [(fault.path, fault.message) for fault in outcome.problems] == [
        ("run 1 of teacher", "param 'lr' is missing")
    ]
    assert ("run 9", "deleted in MLflow") in outcome.left
    assert receipts.read_all(empty(tmp_path).objects) == ()


def test_a_dry_run_writes_nothing(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    opened = toy(rows=[replace(ROW, done="run to copy")])
    outcome = brought(tmp_path, dry_run=True)
    assert opened[0].runs == [True]
    assert not (tmp_path / "store").exists()
    assert outcome.experiments[0].rows[0].done == "run to copy"


def test_what_its_check_finds_stops_it_before_anything_is_copied(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy(check=lambda toy: [("source", f"there is no folder {toy.given['source']}"), ("destination", "is away")])
    with pytest.raises(ConfigError) as error:
        brought(tmp_path, copy=[*PLAN["copy"], {"source": "old", "match": "no/*", "to": "x/"}])
    assert "mlflow[0].from: there is no folder mlruns" in str(error.value)
    assert "tracking.uri: is away" in str(error.value)
    assert "copy[3].match: 'no/*' matches nothing" in str(error.value)
    assert not tree_folder(empty(tmp_path)).exists()


def test_a_source_that_cannot_be_looked_at_is_told_by_its_place_in_the_plan(
    tmp_path: Path, toy: Callable[..., list[Toy]]
) -> None:
    def away(toy: Toy) -> Iterable[tuple[str, str]]:
        raise PokeflowError("MLflow at http://old: is away")

    toy(check=away)
    with pytest.raises(ConfigError, match=r"mlflow\[0\].from: MLflow at http://old: is away"):
        brought(tmp_path, sources={}, copy=[], models={}, links={})


def test_without_a_tracking_store_or_its_plugin_it_says_so(
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


def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(experiments.NAME, "no_such_package.migration:Migration", experiments.GROUP)
    monkeypatch.setattr(experiments.metadata, "entry_points", lambda group: [entry])
    with pytest.raises(PokeflowError, match=r"no_such_package\.migration:Migration, which migrates experiments"):
        brought(tmp_path)


def test_what_a_kill_left_in_its_folder_is_no_hindrance(tmp_path: Path, toy: Callable[..., list[Toy]]) -> None:
    old_project(tmp_path)
    toy()
    left = tmp_path / "store/migrations/old/mlflow/source.db"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    assert brought(tmp_path).problems == []
    assert not left.parent.exists()


def test_both_sides_are_told_and_every_row_is_in_the_report(
    tmp_path: Path, toy: Callable[..., list[Toy]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(counts={"runs": (1200, 1199)}, problems=[("run 7", "is missing")])
    outcome = brought(tmp_path, sources={}, copy=[], models={}, links={})
    told = command._format_outcome(outcome)
    assert "toy://old → toy://there: run copied: 1" in told
    assert any(line.split() == ["runs", "1,200", "1,199"] for line in told.splitlines())
    assert "could not be migrated:\n  run 7: is missing" in told
    summary = command._summary(outcome)
    assert summary["mlflow"][0]["counts"] == {"runs": (1200, 1199)}
    assert summary["complete"] is False


def test_without_experiments_nothing_is_asked_of_tracking(tmp_path: Path) -> None:
    old_project(tmp_path)
    outcome = run(tmp_path)
    assert outcome.experiments == []


@pytest.mark.parametrize("entry", entry_points(group=experiments.GROUP), ids=lambda entry: entry.name)
def test_an_installed_plugin_takes_what_it_is_told(entry: EntryPoint) -> None:
    expected = inspect.signature(experiments.OpenMigration.__call__).parameters.keys() - {"self"}
    assert inspect.signature(entry.load()).parameters.keys() == expected
