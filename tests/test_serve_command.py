"""The commands of the cloud: which service they find, which bundle, and what they are told of both."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pokeflow.cli import _services as services
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.flow import Flow, Service
from pokeflow.store import _local as stores
from pokeflow.types import Backend, Input, Record, Result, Task
from support import toy_flow


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    port: int = 1
    wide: bool = False


def seen(task: Task) -> Result:
    assert task.output.is_dir()
    return Result(facts={"inputs": [i.record.task for i in task.inputs], "port": task.params.port, "url": None})


def wrong(params: Params) -> list[tuple[str, str]]:
    return [("port", "is odd")] if params.port == 3 else []


BACKEND = Backend("toy", "serve", seen, Params, check=wrong)


def flow(root: Path) -> Flow:
    return dataclasses.replace(toy_flow(root), cloud={"serve": Service(BACKEND, Params())})


def finished(flow: Flow, stage: str, model: str, digest: str, **about: Any) -> Record:
    """A finished task in the flow's store."""
    place = stores.of(flow)
    values: dict[str, Any] = {f.name: "" for f in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:{model}", "stage": stage, "model": model, "digest": digest, "content": f"of-{digest}"}
    values |= {"params": {}, "inputs": {}, "metrics": {}, "facts": {}, "reasons": {}, "environment": {}, "files": ()}
    record = Record(**{**values, "seconds": 0.0, "cost_usd": None, **about})
    _, output = place.begin(dataclasses.replace(flow.steps[0], stage=stage, model=model, digest=digest))
    place.commit(output, record)
    return record


def test_the_newest_bundle_is_taken_or_a_models(tmp_path: Path) -> None:
    made = flow(tmp_path)
    finished(made, "bundle", "student", "1" * 16, finished="2026-01-02")
    newest = finished(made, "bundle", "student", "2" * 16, finished="2026-01-04")
    teachers = finished(made, "bundle", "teacher", "3" * 16, finished="2026-01-03")
    assert services.bundle(made, None) == newest
    assert services.bundle(made, "teacher") == teachers
    with pytest.raises(ConfigError, match="Did you mean 'teacher'"):
        services.bundle(made, "teachr")


def test_without_a_bundle_what_makes_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match="its stage 'bundle' makes one"):
        services.bundle(flow(tmp_path), None)


def test_a_bundle_of_a_double_is_passed_over_and_alone_it_is_refused(tmp_path: Path) -> None:
    made = flow(tmp_path)
    double = finished(made, "bundle", "student", "1" * 16, finished="2026-01-05", facts={"simulated": True})
    with pytest.raises(PokeflowError, match="bundle:student is simulated"):
        services.bundle(made, None)
    with pytest.raises(PokeflowError, match=r"bundle:student is simulated.*no such model is taken by stage 'serve'"):
        services.run(made, made.cloud["serve"], double, [Input(double, tmp_path)])
    real = finished(made, "bundle", "student", "2" * 16, finished="2026-01-04")
    assert services.bundle(made, None) == services.bundle(made, "student") == real


def test_a_bundle_comes_with_the_newest_registration_of_just_this_one(tmp_path: Path) -> None:
    made = flow(tmp_path)
    bundle = finished(made, "bundle", "student", "1" * 16, finished="2026-01-01")
    mine, other = {"bundle:student": bundle.content}, {"bundle:student": "of another"}
    finished(made, "register", "student", "2" * 16, finished="2026-01-02", inputs=mine)
    newest = finished(made, "register", "student", "3" * 16, finished="2026-01-03", inputs=mine)
    finished(made, "register", "student", "4" * 16, finished="2026-01-04", inputs=other)
    record, inputs = services.shared_bundle(made, "student")
    assert record == bundle
    assert [item.record for item in inputs] == [bundle, newest]


def test_a_service_that_nobody_does_is_told_with_what_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.deploy: nobody is named for it\. Choose cloud=sagemaker"):
        services.service(flow(tmp_path), "deploy")


def test_the_command_line_comes_before_yaml_and_is_checked(tmp_path: Path) -> None:
    service = flow(tmp_path).cloud["serve"]
    assert services.asked(service, port=2, wide=None).params == Params(2)
    with pytest.raises(ConfigError, match=r"cloud\.serve\.params\.port: is odd"):
        services.asked(service, port=3)
    with pytest.raises(ConfigError, match="no parameter of backend 'toy' named 'hosts'"):
        services.asked(service, hosts="here")


def test_a_backend_is_run_with_the_bundle_and_its_facts_are_told(tmp_path: Path) -> None:
    made = flow(tmp_path)
    finished(made, "bundle", "student", "1" * 16, finished="2026-01-01")
    record, inputs = services.shared_bundle(made, None)
    result = services.run(made, services.asked(made.cloud["serve"], port=2), record, inputs)
    assert result.facts == {"inputs": ["bundle:student"], "port": 2, "url": None}
    assert (
        services.told({"endpoint": "x", "usd_per_hour": 0.115, "url": None}) == "endpoint      x\nusd_per_hour  0.115"
    )
