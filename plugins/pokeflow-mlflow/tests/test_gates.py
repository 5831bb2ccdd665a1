"""Gates over metrics decide which version is approved; the alias only moves forward."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from pokeflow.gates import Gate
from pokeflow.plugins import manager, registry
from pokeflow.schema import parse
from pokeflow_mlflow import gates
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.params import RegisterParams
from pokeflow_mlflow.stages import register

MODEL = "efficientnet-student-stage1"
GATES = {"top1_accuracy": Gate(min=0.9), "size_mb": Gate(max=20), "task_accuracy": Gate(min=0.5, max=1)}


@pytest.fixture
def attempt(task, make_input, uri):
    """Return a function that registers a model with these benchmark metrics; the digest identifies the model."""

    def register_one(digest="a" * 16, gates=GATES, reasons=None, at=uri, **figures):
        figures = {"top1_accuracy": 0.95, "size_mb": 15.2, **figures}
        model = make_input({"preprocessing.json": "{}"}, digest=digest, content=digest, metrics={"task_accuracy": 0.8})
        measured = make_input(stage="benchmark", digest="beef", metrics=figures, reasons=reasons or {})
        return register.run(task("register", RegisterParams(at, gates=gates), model, measured))

    return register_one


def approved_version(uri):
    """Return the number of the version that has the alias."""
    with connect(uri) as store:
        version = store.client.get_registered_model(MODEL).aliases.get("approved")
        return None if version is None else int(version)


def tags(uri, version):
    with connect(uri) as store:
        return store.client.get_model_version(MODEL, str(version)).tags


@pytest.mark.slow
def test_version_that_passes_every_gate_is_approved(attempt, uri):
    facts = attempt().facts

    assert approved_version(uri) == 1
    assert facts["alias"] == "approved"
    assert facts["gates"] == {
        "top1_accuracy": "passed: 0.95 is at least 0.9",
        "size_mb": "passed: 15.2 is at most 20",
        "task_accuracy": "passed: 0.8 is at least 0.5 and at most 1",
    }
    assert tags(uri, 1)["pokeflow.gates"] == "passed"
    assert tags(uri, 1)["pokeflow.gate.size_mb"] == "passed: 15.2 is at most 20"


@pytest.mark.slow
def test_alias_moves_to_a_newer_passing_version(attempt, uri):
    attempt("a" * 16)
    attempt("b" * 16)

    assert approved_version(uri) == 2


def test_failing_version_is_registered_without_the_alias(attempt, uri):
    attempt("a" * 16)
    facts = attempt("b" * 16, top1_accuracy=0.85, size_mb=25.0).facts

    assert facts["registry_version"] == 2
    assert facts["alias"] is None
    assert approved_version(uri) == 1
    assert tags(uri, 2)["pokeflow.gates"] == "failed"
    assert tags(uri, 2)["pokeflow.gate.top1_accuracy"] == "failed: 0.85 is below 0.9"
    assert tags(uri, 2)["pokeflow.gate.size_mb"] == "failed: 25 is above 20"


def test_unknown_metric_fails_with_its_reason(attempt, uri):
    facts = attempt(top1_accuracy=None, reasons={"top1_accuracy": "too few queries"}).facts

    assert facts["gates"]["top1_accuracy"] == "failed: unknown in benchmark: too few queries"
    assert approved_version(uri) is None


def test_nan_metric_fails(attempt):
    assert attempt(size_mb=float("nan")).facts["gates"]["size_mb"].startswith("failed: unknown in benchmark")


def test_unreported_metric_fails_with_a_suggestion(attempt, uri):
    facts = attempt(gates={"top1_acuracy": Gate(min=0.1)}).facts

    assert facts["gates"]["top1_acuracy"] == (
        "failed: no figure 'top1_acuracy'. Did you mean 'top1_accuracy'? Known: size_mb, task_accuracy, top1_accuracy."
    )
    assert approved_version(uri) is None


def test_registration_without_gates_leaves_the_alias(attempt, uri):
    attempt("a" * 16)
    facts = attempt("b" * 16, gates={}).facts

    assert (facts["gates"], facts["alias"]) == ({}, None)
    assert approved_version(uri) == 1
    assert not [tag for tag in tags(uri, 2) if tag.startswith("pokeflow.gate")]


def test_older_version_does_not_take_the_alias_back(attempt, uri):
    attempt("a" * 16)
    attempt("b" * 16)
    facts = attempt("a" * 16).facts

    assert (facts["registry_version"], facts["alias"]) == (1, None)
    assert approved_version(uri) == 2


def test_alias_returns_to_the_older_version_on_failure(attempt, uri):
    attempt("a" * 16)
    attempt("b" * 16)
    attempt("b" * 16, top1_accuracy=0.2)
    assert approved_version(uri) == 1

    attempt("a" * 16, top1_accuracy=0.2)
    assert approved_version(uri) is None

    attempt("b" * 16)
    assert approved_version(uri) == 2


def test_tags_of_former_gates_are_removed(attempt, uri):
    attempt()
    attempt(gates={"top1_accuracy": Gate(min=0.5)})

    assert [tag for tag in sorted(tags(uri, 1)) if tag.startswith("pokeflow.gate")] == [
        "pokeflow.gate.top1_accuracy",
        "pokeflow.gates",
    ]


def test_alias_set_by_hand_to_a_newer_version_is_kept(attempt, uri):
    attempt("a" * 16)
    attempt("b" * 16, top1_accuracy=0.2)
    with connect(uri) as store:
        store.client.set_registered_model_alias(MODEL, "approved", "2")
    attempt("a" * 16)

    assert approved_version(uri) == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.2, 0.95])), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_newest_passing_version_is_approved_in_any_order(judgements):
    store = Registry()
    for number, figure in judgements:
        store.judge(number + 1, figure >= 0.9)

    passing = [version for version, passed in store.passed.items() if passed]
    assert store.aliases.get("approved") == (str(max(passing)) if passing else None)


class Registry:
    """The part of MLflow's client that ``settle`` uses; ``meanwhile`` runs once, before the next alias is set."""

    def __init__(self):
        self.passed, self.aliases, self.meanwhile = {}, {}, None

    def judge(self, version, passes):
        self.passed[version] = passes
        return gates.settle(self, MODEL, version, "approved", passes)

    def get_registered_model(self, _):
        return type("Model", (), {"aliases": dict(self.aliases)})

    def search_model_versions(self, _):
        return [type("Version", (), {"version": version}) for version, passed in self.passed.items() if passed]

    def _interrupted(self):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()

    def set_registered_model_alias(self, _, alias, version):
        self._interrupted()
        self.aliases[alias] = version

    def delete_registered_model_alias(self, _, alias):
        self._interrupted()
        self.aliases.pop(alias, None)


def test_newer_of_two_concurrent_versions_is_approved():
    store = Registry()
    store.meanwhile = lambda: store.judge(2, passes=True)

    assert store.judge(1, passes=True) is False
    assert store.aliases == {"approved": "2"}


def test_failing_version_yields_to_a_concurrent_newer_one():
    store = Registry()
    store.judge(1, passes=True)
    store.judge(2, passes=True)
    store.meanwhile = lambda: store.judge(3, passes=True)

    store.judge(2, passes=False)
    assert store.aliases == {"approved": "3"}


def conflict(times, meanwhile=lambda: None):
    """Return a function that fails ``times`` times, as MLflow does when two processes set an alias concurrently."""
    left = iter(range(times))

    def refuse(store):
        if next(left, None) is not None:
            store.meanwhile = lambda: refuse(store)
            meanwhile()
            raise MlflowException("UNIQUE constraint failed")

    return refuse


def test_conflict_when_setting_the_alias_is_retried():
    store = Registry()
    refuse = conflict(1, lambda: store.aliases.update(approved="1"))
    store.meanwhile = lambda: refuse(store)

    assert store.judge(2, passes=True) is True
    assert store.aliases == {"approved": "2"}


def test_alias_conflict_is_reported_after_five_attempts():
    for times in (4, 5):
        store = Registry()
        refuse = conflict(times)
        store.meanwhile = lambda store=store, refuse=refuse: refuse(store)
        if times == 4:
            assert store.judge(1, passes=True) is True
            continue
        with pytest.raises(MlflowException, match="UNIQUE"):
            store.judge(1, passes=True)


def test_failing_version_leaves_the_alias_of_another():
    store = Registry()
    store.aliases["approved"] = "2"  # set by hand: this version did not pass

    assert store.judge(1, passes=False) is False
    assert store.aliases == {"approved": "2"}


def test_version_without_gates_keeps_its_alias():
    store = Registry()
    store.aliases["approved"] = "1"

    assert store.judge(1, passes=None) is True
    assert store.judge(2, passes=None) is False
    assert store.aliases == {"approved": "1"}


SEVERAL = """
import pickle, sys
from pokeflow_mlflow.stages import register
register.run(pickle.load(sys.stdin.buffer))
"""


@pytest.mark.long
def test_concurrent_registrations_approve_the_newest(task, make_input, server, tmp_path):
    def job(number):
        model = make_input({"preprocessing.json": "{}"}, digest=f"{number:016d}", content=f"{number:016d}")
        measured = make_input(stage="benchmark", digest="beef", metrics={"top1_accuracy": 0.95})
        registering = task("register", RegisterParams(server, gates={"top1_accuracy": Gate(min=0.9)}), model, measured)
        (tmp_path / f"out{number}").mkdir()
        return pickle.dumps(replace(registering, output=tmp_path / f"out{number}"))

    running = []
    for number in range(4):
        process = subprocess.Popen([sys.executable, "-c", SEVERAL], stdin=subprocess.PIPE)
        process.stdin.write(job(number))
        process.stdin.close()
        running.append(process)
    assert [process.wait(120) for process in running] == [0] * 4

    with connect(server) as store:
        assert len(store.client.search_model_versions(f"name = '{MODEL}'")) == 4
    assert approved_version(server) == 4


@pytest.mark.parametrize(
    ("gate_params", "key_path"),
    [
        ({"gates": {"size_mb": {}}}, "gates.size_mb"),
        ({"gates": {"size_mb": {"min": 2.0, "max": 1.0}}}, "gates.size_mb"),
        ({"gates": {"size mb!": {"max": 1.0}}}, "gates.size mb!"),
        ({"alias": "latest"}, "alias"),
        ({"alias": "v2"}, "alias"),
        ({"alias": "best one"}, "alias"),
        ({"alias": ""}, "alias"),
    ],
)
def test_invalid_gates_are_reported_before_a_run(gate_params, key_path):
    check = registry(manager()).backends["register", "mlflow"].faults
    params = parse(RegisterParams, {"uri": "sqlite:///m.db", **gate_params}, "", faults := [])

    assert not faults
    assert [key for key, _ in check(params)] == [key_path]


def test_misspelt_bound_is_reported_with_a_suggestion():
    parse(RegisterParams, {"uri": "sqlite:///m.db", "gates": {"size_mb": {"mx": 1}}}, "params", faults := [])

    assert [str(fault) for fault in faults] == [
        "params.gates.size_mb.mx: no key 'mx'. Did you mean 'max'? Known: applies_to, max, min."
    ]
