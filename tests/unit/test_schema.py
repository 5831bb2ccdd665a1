"""Parse plain data into dataclasses: strict types, every fault at its path, and an equal JSON Schema."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pokeflow.cli.commands.schema import all_schemas
from pokeflow.config.omegaconf import shipped_conf
from pokeflow.plugins import manager, registry
from pokeflow.schema import parse


@dataclass(frozen=True, slots=True)
class Inner:
    size: int = 3
    rate: float = 0.5


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[Inner, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    mixed: dict[str, int | float | str | bool] = field(default_factory=dict)


def faults_of(data: Any) -> list[str]:
    faults: list[Any] = []
    parse(Outer, data, "x", faults)
    return [str(f) for f in faults]


def test_missing_values_take_their_defaults() -> None:
    assert parse(Outer, {"name": "n"}, "x", []) == Outer("n")


def test_only_int_to_float_is_converted() -> None:
    assert parse(Inner, {"rate": 1}, "x", []) == Inner(rate=1.0)
    for wrong in ({"size": 1.0}, {"size": "1"}, {"size": True}, {"rate": "0.5"}, {"rate": True}):
        faults: list[Any] = []
        parse(Inner, wrong, "x", faults)
        assert len(faults) == 1, wrong


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ["x.name: no value. Set it in YAML or with x.name=…"]),
        ({"name": "???"}, ["x.name: no value. Set it in YAML or with x.name=…"]),
        ({"name": "n", "kind": "c"}, ["x.kind: no choice 'c'. Known: a, b."]),
        ({"name": "n", "inner": {"sise": 1}}, ["x.inner.sise: no key 'sise'. Did you mean 'size'? Known: rate, size."]),
        ({"name": "n", "many": [{}, {"size": "x"}]}, ["x.many[1].size: expected a whole number, got text 'x'."]),
        ({"name": "n", "weights": {"a": None}}, ["x.weights.a: expected a number, got nothing (null)."]),
        ({"name": "n", "maybe": 3}, ["x.maybe: expected a mapping, got the number 3."]),
        ({"name": "n", "pair": [1]}, ["x.pair: expected tuple[float, float], got the list [1]."]),
        (None, ["x: expected a mapping, got nothing (null)."]),
    ],
)
def test_a_fault_says_where_and_what(data: Any, expected: list[str]) -> None:
    assert faults_of(data) == expected


def test_all_faults_of_the_data_are_reported_at_once() -> None:
    assert len(faults_of({"kind": "c", "inner": {"size": "x", "rate": []}, "odd": 1})) == 5


numbers = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(Inner, size=st.integers(-(2**60), 2**60), rate=numbers)
outers = st.builds(
    Outer,
    name=st.text().filter(lambda s: s != "???"),
    kind=st.sampled_from(["a", "b"]),
    inner=inners,
    maybe=st.none() | inners,
    pair=st.tuples(numbers, numbers),
    many=st.lists(inners).map(tuple),
    weights=st.dictionaries(st.text(), numbers),
    mixed=st.dictionaries(st.text(), st.integers(0, 9) | st.booleans() | st.text().filter(lambda s: s != "???")),
)


@given(outers)
def test_values_survive_a_round_trip_through_json(value: Outer) -> None:
    faults: list[Any] = []
    assert parse(Outer, json.loads(json.dumps(asdict(value))), "x", faults) == value
    assert faults == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from(["name", "kind", "inner", "many", "pair", "weights", "zzz"]), anything))
def test_any_data_becomes_a_value_or_faults(data: dict[str, Any]) -> None:
    faults: list[Any] = []
    value = parse(Outer, data, "x", faults)
    assert faults or isinstance(value, Outer)


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return all_schemas(registry(manager()))


def shipped_files() -> list[Path]:
    groups = ("project", "lineage", "data", "target", "store", "executor", "tracking")
    return sorted(f for group in groups for f in (shipped_conf() / group).glob("*.yaml"))


@pytest.mark.parametrize("file", shipped_files(), ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_every_shipped_file_satisfies_its_schema(file: Path, schemas: dict[str, Any]) -> None:
    if file.stem == "none" and file.parent.name == "target":
        pytest.skip("names a backend that is not installed: the schema lists the installed ones")
    data = OmegaConf.to_container(OmegaConf.load(file))
    jsonschema.Draft202012Validator(schemas[file.parent.name]).validate(data)


@pytest.mark.parametrize(
    ("group", "data"),
    [
        ("project", {"nme": "x"}),
        ("lineage", {"models": {"m": {"stage": "distil"}}}),
        ("lineage", {"models": {"m": {"stage": "train", "backend": "toy", "params": {"lrr": 1}}}}),
        ("lineage", {"models": {"m": {"stage": "train", "backend": "toy", "params": {"lr": "fast"}}}}),
        ("lineage", {"post_stages": {"benchmark": {"backend": "toy", "params": {"lrr": 1}}}}),
        ("lineage", {"post_stages": {"benchmrk": {"backend": "toy"}}}),
        ("data", {"backend": "toy", "lrr": 1}),
        ("target", {"compile": {"backend": "toy", "params": {"lrr": 1}}}),
        ("executor", {"name": 3}),
    ],
)
def test_the_schema_refuses_what_the_command_refuses(group: str, data: Any, schemas: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schemas[group]).validate(data)


def test_the_schema_takes_an_interpolation_anywhere(schemas: dict[str, Any]) -> None:
    data = {"models": {"m": {"params": "${model.teacher}"}}, "post_stages": {"benchmark": "${target.benchmark}"}}
    jsonschema.Draft202012Validator(schemas["lineage"]).validate(data)


@pytest.mark.slow
def test_the_schemas_are_themselves_valid(schemas: dict[str, Any]) -> None:
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
