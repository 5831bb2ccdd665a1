"""The cloud's commands: the bundle they choose, their parameters and their output."""

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
    """Write a finished task to the flow's store."""
    store = stores.open_for_flow(flow)
    values: dict[str, Any] = {f.name: "" for f in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:{model}", "stage": stage, "model": model, "digest": digest, "content": f"of-{digest}"}
    values |= {"params": {}, "inputs": {}, "metrics": {}, "facts": {}, "reasons": {}, "environment": {}, "files": ()}
    record = Record(**{**values, "seconds": 0.0, "cost_usd": None, **about})
    _, output = store.begin(dataclasses.replace(flow.steps[0], stage=stage, model=model, digest=digest))
    store.commit(output, record)
    return record


def test_newest_bundle_is_chosen_overall_or_per_model(tmp_path: Path) -> None:
    flow = toy_flow(tmp_path)
    finished(flow, "bundle", "student", "1" * 16, finished="2026-01-02")
    newest = finished(flow, "bundle", "student", "2" * 16, finished="2026-01-04")
    teachers = finished(flow, "bundle", "teacher", "3" * 16, finished="2026-01-03")
    assert bundles.newest(flow, None) == newest
    assert bundles.newest(flow, "teacher") == teachers
    with pytest.raises(ConfigError, match="Did you mean 'teacher'"):
        bundles.newest(flow, "teachr")


def test_missing_bundle_error_names_a_command_that_creates_one(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match=r"Create one with: pokeflow cloud=sagemaker"):
        bundles.newest(toy_flow(tmp_path), None)


def test_simulated_bundle_is_skipped_or_refused_if_the_only_one(tmp_path: Path) -> None:
    flow = toy_flow(tmp_path)
    finished(flow, "bundle", "student", "1" * 16, finished="2026-01-05", facts={"simulated": True})
    with pytest.raises(PokeflowError, match="bundle:student: produced by a simulator"):
        bundles.newest(flow, None)
    real = finished(flow, "bundle", "student", "2" * 16, finished="2026-01-04")
    assert bundles.newest(flow, None) == bundles.newest(flow, "student") == real


def test_bundle_comes_with_its_own_newest_registration(tmp_path: Path) -> None:
    flow = toy_flow(tmp_path)
    bundle = finished(flow, "bundle", "student", "1" * 16, finished="2026-01-01")
    mine, other = {"bundle:student": bundle.content}, {"bundle:student": "of another"}
    finished(flow, "register", "student", "2" * 16, finished="2026-01-02", inputs=mine)
    newest = finished(flow, "register", "student", "3" * 16, finished="2026-01-03", inputs=mine)
    finished(flow, "register", "student", "4" * 16, finished="2026-01-04", inputs=other)
    assert bundles.in_bucket(flow, "student") == Bundle(bundle, None, newest)


def test_simulated_registration_is_refused(tmp_path: Path) -> None:
    flow = toy_flow(tmp_path)
    bundle = finished(flow, "bundle", "student", "1" * 16, finished="2026-01-01")
    inputs, simulated = {"bundle:student": bundle.content}, {"simulated": True}
    finished(flow, "register", "student", "2" * 16, finished="2026-01-02", inputs=inputs, facts=simulated)
    with pytest.raises(PokeflowError, match=r"register:student: produced by a simulator.*cannot be served"):
        bundles.in_bucket(flow, "student")


def test_command_without_parameters_says_which_cloud_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.deploy: has no parameters\. Set cloud=sagemaker"):
        options.params_of(toy_flow(tmp_path), "deploy")


def test_command_line_overrides_yaml_and_is_checked() -> None:
    yaml = ServeParams("0.0.0.0", 1)
    assert options.with_options("serve", yaml, check_serve, port=2, host=None) == ServeParams("0.0.0.0", 2)
    with pytest.raises(ConfigError, match=r"cloud\.serve\.params\.port: 70000 is not between"):
        options.with_options("serve", yaml, check_serve, port=70_000)


def test_facts_are_printed_one_per_line_without_unknown_ones() -> None:
    facts = {"endpoint": "x", "usd_per_hour": 0.115, "url": None}
    assert format_facts(facts) == "endpoint      x\nusd_per_hour  0.115"


def test_backend_of_a_command_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cloud\.deploy\.backend: a command takes no backend") as error:
        load("+cloud.deploy.backend=sagemaker", "+cloud.deplyo.params.instances=2")
    assert "cloud.deplyo: no command 'deplyo'. Did you mean 'deploy'?" in str(error.value)


def test_command_parameters_are_checked_when_loading() -> None:
    overrides = ("cloud.deploy.params.instances=0", "+cloud.transform.params.instanses=2")
    with pytest.raises(ConfigError, match=r"cloud\.deploy\.params\.instances: 0 is not between 1 and 100") as error:
        load(*overrides)
    assert "instanses" in str(error.value)
    assert load("cloud.deploy=null").cloud.keys() >= {"serve", "provision"}


def test_cloud_entry_of_a_stage_must_name_a_known_backend() -> None:
    with pytest.raises(ConfigError, match=r"cloud\.bundle\.backend: no backend for stage 'bundle' named 'sagemakr'"):
        load("cloud.bundle.backend=sagemakr")
