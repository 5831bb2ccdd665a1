"""Test stage profile of any target: the sums and shares of its operators."""

import json
from typing import Any

import numpy as np
import pytest

from pokeflow import PokeflowError, Task
from pokeflow_testkit.images_support import Stage
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.profiling import Operator, ProfileParams, check, run
from pokeflow_vision.testing import data

OPERATORS = [
    Operator("conv1", "Conv", "int8", 0.25),
    Operator("relu", "Relu", None, 0.125),
    Operator("conv2", "Conv", "int8", 0.625),
]


@pytest.fixture
def task(stage: Stage) -> Task:
    return stage.task("profile", ProfileParams(runs=60, warmup=3, threads=2))


def profiled(task: Task, operators: list[Operator]) -> tuple[Any, dict[str, Any]]:
    result = run(task, lambda *_: operators, framework="Toy 1.0", source="a toy")
    return result, json.loads((task.output / "profiling_results.json").read_text())


def test_operators_are_summed_with_unit_and_source(task):
    result, document = profiled(task, OPERATORS)
    assert result.metrics == {"operators_ms": 1.0, "operators": 3}
    assert document["figures"]["operators_ms"]["value"] == 1.0
    assert document["figures"]["operators_ms"]["unit"] == "ms"
    assert document["figures"]["operators_ms"]["source"].startswith("a toy, on this machine's CPU, ")
    assert document["figures"]["operators_ms"]["source"].endswith(", 2 threads")
    assert (document["framework"], document["runs"], document["device"]) == ("Toy 1.0", 60, result.facts["device"])


def test_operators_keep_order_and_types_are_sorted_by_time(task):
    _, document = profiled(task, OPERATORS)
    assert [(o["name"], o["kernel"], o["share"]) for o in document["operators"]] == [
        ("conv1", "int8", 0.25),
        ("relu", None, 0.125),
        ("conv2", "int8", 0.625),
    ]
    assert [(t["type"], t["operators"], t["ms"]) for t in document["types"]] == [("Conv", 2, 0.875), ("Relu", 1, 0.125)]


def test_network_gets_one_test_picture_per_run(task):
    shown = []

    def watch(folder, spec, params, pictures, work):
        shown.extend(pictures)
        assert (folder, params, work) == (task.inputs[0].folder, task.params, task.work)
        return OPERATORS

    run(task, watch, framework="Toy 1.0", source="a toy")
    assert len(shown) == 63
    assert {(picture.shape, picture.dtype) for picture in shown} == {((1, 32, 32, 3), np.dtype(np.uint8))}
    tests = len(data.draw_dataset().queries_of("test"))
    np.testing.assert_array_equal(shown[0], shown[tests])
    assert not np.array_equal(shown[0], shown[1])


def test_runtime_without_operators_is_an_error(task):
    with pytest.raises(PokeflowError, match=r"Toy 1\.0 reported no operator"):
        profiled(task, [])


def test_model_of_other_preprocessing_is_refused(task):
    Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).write(task.inputs[0].folder)
    with pytest.raises(PokeflowError, match=r"compile:small: preprocessing .* differs"):
        profiled(task, OPERATORS)


@pytest.mark.parametrize(
    ("params", "faults"), [({}, []), ({"runs": 0, "warmup": -1, "threads": 0}, ["runs", "warmup", "threads"])]
)
def test_invalid_parameters_are_reported(params, faults):
    assert [name for name, _ in check(ProfileParams(**params))] == faults
