"""The commands of the cloud: which bundle they find, with which parameters, and what they print."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import pokeflow
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.flow import Flow
from pokeflow.store import _local as stores
from pokeflow.text import format_facts
from pokeflow.types import Record
from pokeflow_sagemaker.commands import options
from pokeflow_sagemaker.serving import bundles
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import ServeParams, check_serve
from pokeflow_testkit.support import toy_flow

from ..commands_support import CLOUD_FLOW


def load(*overrides: str) -> Flow:
    """The toy flow with the cloud's commands."""
    return pokeflow.load([*CLOUD_FLOW, *overrides])


def finished(flow: Flow, stage: str, model: str, digest: str, **about: Any) -> Record:
    """A finished task in the flow's store."""
    place = stores.open_for_flow(flow)
    values: dict[str, Any] = {f.name: "" for f in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:{model}", "stage": stage, "model": model, "digest": digest, "content": f"of-{digest}"}
    values |= {"params": {}, "inputs": {}, "metrics": {}, "facts": {}, "reasons": {}, "environment": {}, "files": ()}
    record = Record(**{**values, "seconds": 0.0, "cost_usd": None, **about})
    _, output = place.begin(dataclasses.replace(flow.steps[0], stage=stage, model=model, digest=digest))
    place.commit(output, record)
    return record


def test_the_newest_bundle_is_taken_or_a_models(tmp_path: Path) -> None:
    made = toy_flow(tmp_path)
    finished(made, "bundle", "student", "1" * 16, finished="2026-01-02")
    newest = finished(made, "bundle", "student", "2" * 16, finished="2026-01-04")
    teachers = finished(made, "bundle", "teacher", "3" * 16, finished="2026-01-03")
    assert bundles.newest(made, None) == newest
    assert bundles.newest(made, "teacher") == teachers
    with pytest.raises(ConfigError, match="Did you mean 'teacher'"):
        bundles.newest(made, "teachr")


def test_without_a_bundle_what_makes_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match="its stage 'bundle' creates one"):
        bundles.newest(toy_flow(tmp_path), None)


def test_a_bundle_of_a_double_is_passed_over_and_alone_it_is_refused(tmp_path: Path) -> None:
    made = toy_flow(tmp_path)
    finished(made, "bundle", "student", "1" * 16, finished="2026-01-05", facts={"simulated": True})
    with pytest.raises(PokeflowError, match="bundle:student: produced by a simulator"):
        bundles.newest(made, None)
    real = finished(made, "bundle", "student", "2" * 16, finished="2026-01-04")
    assert bundles.newest(made, None) == bundles.newest(made, "student") == real


def test_a_bundle_comes_with_the_newest_registration_of_just_this_one(tmp_path: Path) -> None:
    made = toy_flow(tmp_path)
    bundle = finished(made, "bundle", "student", "1" * 16, finished="2026-01-01")
    mine, other = {"bundle:student": bundle.content}, {"bundle:student": "of another"}
    finished(made, "register", "student", "2" * 16, finished="2026-01-02", inputs=mine)
    newest = finished(made, "register", "student", "3" * 16, finished="2026-01-03", inputs=mine)
    finished(made, "register", "student", "4" * 16, finished="2026-01-04", inputs=other)
    assert bundles.in_bucket(made, "student") == Bundle(bundle, None, newest)


def test_a_registration_of_a_double_is_refused(tmp_path: Path) -> None:
    made = toy_flow(tmp_path)
    bundle = finished(made, "bundle", "student", "1" * 16, finished="2026-01-01")
    inputs, simulated = {"bundle:student": bundle.content}, {"simulated": True}
    finished(made, "register", "student", "2" * 16, finished="2026-01-02", inputs=inputs, facts=simulated)
    with pytest.raises(PokeflowError, match=r"register:student: produced by a simulator.*cannot be served"):
        bundles.in_bucket(made, "student")


def test_a_command_without_parameters_is_told_with_what_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.deploy: has no parameters\. Set cloud=sagemaker"):
        options.params_of(toy_flow(tmp_path), "deploy")


def test_the_command_line_comes_before_yaml_and_is_checked() -> None:
    yaml = ServeParams("0.0.0.0", 1)
    assert options.with_options("serve", yaml, check_serve, port=2, host=None) == ServeParams("0.0.0.0", 2)
    with pytest.raises(ConfigError, match=r"cloud\.serve\.params\.port: 70000 is not between"):
        options.with_options("serve", yaml, check_serve, port=70_000)


def test_facts_are_printed_a_line_each_without_those_that_are_not_known() -> None:
    facts = {"endpoint": "x", "usd_per_hour": 0.115, "url": None}
    assert format_facts(facts) == "endpoint      x\nusd_per_hour  0.115"


def test_a_backend_is_refused_where_a_command_has_none() -> None:
    with pytest.raises(ConfigError, match=r"cloud\.deploy\.backend: a command takes no backend") as error:
        load("+cloud.deploy.backend=sagemaker", "+cloud.deplyo.params.instances=2")
    assert "cloud.deplyo: no command 'deplyo'. Did you mean 'deploy'?" in str(error.value)


def test_the_parameters_of_a_command_are_typed_and_checked_before_anything_runs() -> None:
    given = ("cloud.deploy.params.instances=0", "+cloud.transform.params.instanses=2")
    with pytest.raises(ConfigError, match=r"cloud\.deploy\.params\.instances: 0 is not between 1 and 100") as error:
        load(*given)
    assert "instanses" in str(error.value)
    assert load("cloud.deploy=null").cloud.keys() >= {"serve", "provision"}


def test_what_a_stage_leaves_in_the_cloud_may_stand_beside_the_commands() -> None:
    with pytest.raises(ConfigError, match=r"cloud\.bundle\.backend: no backend for stage 'bundle' named 'sagemakr'"):
        load("cloud.bundle.backend=sagemakr")
