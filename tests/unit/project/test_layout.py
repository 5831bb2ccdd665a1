"""Compare the shipped layout with the owner's tree, and refuse wrong layouts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.errors import ConfigError
from pokeflow.flow import Flow
from pokeflow_testkit.owners_tree import TREE
from pokeflow_testkit.support import TOY_FLOW


@cache
def flow(*overrides: str) -> Flow:
    return resolve(omegaconf.to_plain(composition.compose_config(overrides)), plugins.registry(plugins.manager()))


@pytest.mark.parametrize("leaf", TREE)
def test_shipped_layout_covers_every_leaf_of_the_owner_s_tree(leaf: str) -> None:
    paths = [entry.path for entry in flow().leaves]
    assert any(path == leaf or (leaf.endswith("/") and path.startswith(leaf)) for path in paths)


def test_tree_has_the_root_of_the_owner_s_document() -> None:
    assert flow().tree == "project/pokemon-card-recognition"


def test_leaves_name_the_tasks_that_produce_them() -> None:
    makers = {leaf.path: leaf.maker for leaf in flow().leaves}
    assert makers["models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx"] == "train:dinov3-teacher"
    assert makers["models/dinov3-teacher/v1.0/metrics.json"] == "benchmark:dinov3-teacher"
    assert makers["data/processed/link.json"] == "prepare:data"
    assert makers["metadata/project_manifest.json"] == "publish"
    hef = makers["models/efficientnet-hailo/v2.1/pokemon_student_efficientnet_lite0_stage2.hef"]
    assert hef == "compile:efficientnet-hailo-optimized by backend hailo (here it is onnxruntime)"
    assert "which this lineage does not have" in makers["analytics/reports/training_summary.pdf"]


def test_shipped_layout_covers_the_output_of_every_target() -> None:
    outputs = {"hailo8l": "pokemon_student_efficientnet_lite0_stage2.hef", "cpu": "", "openvino": ""}
    for target, output in outputs.items():
        makers = {leaf.path: leaf.maker for leaf in flow(f"target={target}").leaves}
        assert makers[f"models/efficientnet-hailo/v2.1/{output}"] == "compile:efficientnet-hailo-optimized"


def test_only_files_of_a_version_are_fixed() -> None:
    fixed = {leaf.path: leaf.fixed for leaf in flow().leaves}
    assert fixed["models/dinov3-teacher/v1.0/metrics.json"]
    assert not fixed["models/dinov3-teacher/training_config.json"]


def test_raised_version_moves_its_leaves() -> None:
    raised = flow("lineage.models.dinov3-teacher.version=v1.1")
    assert "models/dinov3-teacher/v1.1/model.tar.gz" in {leaf.path for leaf in raised.leaves}


def test_any_other_lineage_has_a_tree_with_the_plain_layout() -> None:
    paths = {leaf.path for leaf in flow(*TOY_FLOW, "layout=plain").leaves}
    assert {"models/teacher/v1.0/", "models/tiny/v2.1/metrics.json", "metadata/model_lineage.json"} <= paths


def test_layout_covers_models_that_it_does_not_name() -> None:
    paths = {leaf.path for leaf in flow(*TOY_FLOW).leaves if leaf.model}
    assert {"models/teacher/v1.0/", "models/tiny/v2.1/metrics.json"} <= paths


REPORT = {"stage": "report", "file": "x"}
WRONG: Sequence[tuple[dict[str, Any], str]] = (
    ({"project": {"x": {"document": "manifesto"}}}, "no document 'manifesto'. Did you mean 'project_manifest'?"),
    ({"project": {"../x": REPORT}}, "is not a valid key"),
    ({"project": {"x": {"file": "a"}}}, "no stage. Set the stage"),
    ({"project": {"x": {**REPORT, "link": "."}}}, "file and link are set; a path holds only one of them"),
    ({"project": {"x": {}}}, "has no content"),
    ({"project": {"x": {"stage": "report", "file": "**"}}}, "'**' matches many files: end the path with '/'"),
    ({"project": {"{model}/x": REPORT}}, "only {model} and {version} are replaced"),
    ({"models": {"*": {"{modl}/x": REPORT}}}, "only {model} and {version} are replaced"),
    ({"models": {"*": {"{model.__class__}/x": REPORT}}}, "only {model} and {version} are replaced"),
    ({"project": {"metadata/receipts/x": REPORT}}, "is reserved for receipts"),
    ({"models": {"*": {"same": {"file": "a"}}}}, "two entries have the path same"),
    ({"models": {"teachr": {"x": REPORT}, "student": {"y": REPORT}}}, "no model 'teachr'. Did you mean 'teacher'?"),
    ({"rot": "x"}, "no key 'rot'. Did you mean 'root'?"),
    ({"root": "/etc"}, "is not a valid key"),
    ({"root": None}, "layout.root: expected text"),
)


@pytest.mark.parametrize(("change", "fault"), WRONG)
def test_wrong_layout_is_reported(change: dict[str, Any], fault: str) -> None:
    data = omegaconf.to_plain(composition.compose_config(TOY_FLOW))
    data["layout"] = {"root": "project/x", **change}
    with pytest.raises(ConfigError) as error:
        resolve(data, plugins.registry(plugins.manager()))
    assert fault in str(error.value)
