"""Run the runner of MLflow's own tests on a folder of a few similar tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow_testkit import mlflow_suite
from pokeflow_testkit.mlflow_suite import Outcome, Round

TESTS = """
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", folder.as_uri())

def test_an_experiment_is_found_by_name(store):
    assert store.get_experiment_by_name("a") is None
    assert store.create_experiment("a") == store.get_experiment_by_name("a").experiment_id

def test_numbers_are_in_a_row(store):
    assert store.create_experiment("b") == "2"

def test_of_another_version(store):
    assert not hasattr(store, "create_experiment")

def test_of_another_server():
    pytest.skip("needs another server")
"""


@pytest.mark.long
def test_both_stores_are_counted_and_compared(tmp_path: Path) -> None:
    file = tmp_path / mlflow_suite.CHOSEN[0] / "test_sqlalchemy_store_few.py"
    file.parent.mkdir(parents=True)
    file.write_text(TESTS)
    command = [sys.executable, "-m", "pokeflow_testkit.mlflow_suite", "--tests", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    control, ours, *rest = done.stdout.splitlines()
    assert control.startswith("MLflow's SQL store: 2 passed, 1 failed, 1 skipped")
    assert ours.startswith("the s3 store: 1 passed, 2 failed, 1 skipped")
    (difference,) = rest
    assert difference.startswith("passed → failed")
    assert "test_numbers_are_in_a_row" in difference


def test_error_in_teardown_counts_as_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="m" name="a"/>'
        '<testcase classname="m" name="b"><error message="left open&#10;more"/></testcase>'
        '<testcase classname="m" name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    assert dict(mlflow_suite.read(report)) == {
        "m::a": Outcome("passed"),
        "m::b": Outcome("failed", "left open"),
        "m::c": Outcome("skipped"),
    }


def test_a_test_that_only_one_store_ran_is_a_difference() -> None:
    control = Round("control", {"m::a": Outcome("passed"), "m::b": Outcome("failed", "x")}, 1)
    ours = Round("ours", {"m::b": Outcome("failed", "y")}, 1)
    assert list(mlflow_suite.differences(control, ours)) == ["passed → absent  m::a  "]
