"""Publish document kinds of plugins, which an entry point provides and a layout line uses."""

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pokeflow import plugins
from pokeflow.config import _layout as layouts
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.flow import Flow
from pokeflow.project import _artifacts as artifacts
from pokeflow.project import _kinds as kinds
from pokeflow.project import _publish as publishing
from pokeflow.project import documents
from pokeflow.project import tree as trees
from pokeflow.store import _local as stores
from pokeflow.types import DocumentKind
from pokeflow_browse import verify as verifying
from pokeflow_testkit.support import TOY_FLOW, run_flow

PROJECT_LINE = {"metadata/scores.json": {"document": "scores"}}
MODEL_LINE = {"models/{model}/{version}/note.txt": {"document": "note"}}
MANIFEST_LINE = {"metadata/project_manifest.json": {"document": "project_manifest"}}
CARD_LINE = {"models/{model}/{version}/model_card.md": {"document": "model_card"}}


def flow_of(root: Path, project: dict[str, Any], models: dict[str, Any]) -> Flow:
    data = omegaconf.to_plain(composition.compose_config([*TOY_FLOW, f"store.root={root}"]))
    data["layout"] = {"root": "project/toy", "project": project, "models": {"*": models}}
    return resolve(data, plugins.registry(plugins.manager()))


@pytest.fixture
def without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the kinds of pokeflow-metadata, as if it were not installed."""
    left = {name: kind for name, kind in plugins.document_kinds().items() if name in ("scores", "note")}
    for module in (layouts, documents, kinds):
        monkeypatch.setattr(module, "document_kinds", lambda: left)


def test_documents_of_a_plugin_are_published_and_verified(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE, MODEL_LINE)
    result = publishing.publish(flow, run_flow(flow))
    assert result.documents == ("metadata/scores.json",)
    tree = trees.open_tree(flow)
    scores = json.loads(tree.objects.read("metadata/scores.json")[0])
    assert scores["scores"]["teacher:v1.0"] > 0
    assert tree.objects.read("models/teacher/v1.0/note.txt")[0].startswith(b"teacher v1.0: ")
    assert verifying.verify(tree).problems == ()


def test_published_text_is_kept_when_a_later_build_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE, MODEL_LINE)
    records = run_flow(flow)
    publishing.publish(flow, records)
    tree, note = trees.open_tree(flow), "models/teacher/v1.0/note.txt"
    before = tree.objects.read(note)
    reworded = replace(plugins.document_kinds()["note"], build=lambda version: b"in other words")
    monkeypatch.setattr(documents, "document_kinds", lambda: {**plugins.document_kinds(), "note": reworded})
    assert publishing.publish(flow, records).documents == ()
    assert tree.objects.read(note) == before
    assert verifying.verify(tree).problems == ()
    tree.objects.delete(note)
    assert [problem.kind for problem in verifying.verify(tree).problems] == ["missing"]


def test_changed_data_of_a_published_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"models/{model}/{version}/metrics.json": {"document": "metrics"}}
    flow = flow_of(tmp_path, PROJECT_LINE, line)
    records = run_flow(flow)
    publishing.publish(flow, records)
    other = replace(plugins.document_kinds()["metrics"], build=lambda version: {"other": 1}, schema={})
    monkeypatch.setattr(documents, "document_kinds", lambda: {**plugins.document_kinds(), "metrics": other})
    with pytest.raises(ConfigError, match="Published files cannot change: raise the version"):
        publishing.publish(flow, records)


def test_damaged_document_is_reported_by_its_plugin_s_schema(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE, MODEL_LINE)
    publishing.publish(flow, run_flow(flow))
    tree = trees.open_tree(flow)
    tree.objects.write("metadata/scores.json", b'{"schema_version": 1, "scores": {"teacher:v1.0": "high"}}', match=None)
    problems = {problem.message for problem in verifying.verify(tree).problems}
    assert "$.scores['teacher:v1.0']: 'high' is not of type 'number'" in problems


@pytest.mark.usefixtures("without_metadata")
def test_gap_of_a_missing_kind_names_its_distribution(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE | MANIFEST_LINE, MODEL_LINE | CARD_LINE)
    records = run_flow(flow)
    gaps = {gap.leaf.path: gap.why for gap in artifacts.collect(flow, records, stores.open_for_flow(flow))[1]}
    why = "document model_card (its kind is not installed: install pokeflow-metadata)"
    assert gaps["models/teacher/v1.0/model_card.md"] == why
    makers = {leaf.path: leaf.maker for leaf in flow.leaves}
    assert "install pokeflow-metadata" in makers["metadata/project_manifest.json"]
    assert publishing.publish(flow, records).documents == ("metadata/scores.json",)
    assert verifying.verify(trees.open_tree(flow)).problems == ()


def test_verify_passes_without_the_plugin_of_a_document(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE | MANIFEST_LINE, MODEL_LINE | CARD_LINE)
    publishing.publish(flow, run_flow(flow))
    request.getfixturevalue("without_metadata")
    assert verifying.verify(trees.open_tree(flow)).problems == ()


@pytest.mark.usefixtures("without_metadata")
@pytest.mark.parametrize(
    ("project", "models", "nearest"),
    [
        ({"x": {"document": "project_manifst"}}, {}, "project_manifest"),
        ({"x": {"document": "scors"}}, {}, "scores"),
        ({}, {"x": {"document": "metric"}}, "metrics"),
        ({}, {"x": {"document": "notes"}}, "note"),
    ],
)
def test_misspelt_document_is_refused_with_the_nearest_name(
    tmp_path: Path, project: dict[str, Any], models: dict[str, Any], nearest: str
) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{nearest}'"):
        flow_of(tmp_path, project, models)


def test_well_known_documents_come_from_the_named_distribution() -> None:
    for scope, names in plugins.WELL_KNOWN.items():
        for name, distribution in names.items():
            (entry,) = metadata.entry_points(group=plugins.DOCUMENTS, name=name)
            assert entry.dist is not None
            assert (entry.dist.name, plugins.document_kinds()[name].scope) == (distribution, scope)


class Entry:
    """An entry point."""

    value = "somebody:KIND"

    def __init__(self, name: str, what: Any) -> None:
        self.name, self._what = name, what

    def load(self) -> Any:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


KIND = DocumentKind("here", "project", lambda project: {})


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([Entry("here", ImportError("no such module"))], r"'here' \(somebody:KIND\) cannot be loaded: no such module"),
        ([Entry("here", 3)], "is 3; expected a DocumentKind named 'here' of scope project or version"),
        ([Entry("there", KIND)], "a DocumentKind named 'there' of scope"),
        ([Entry("here", replace(KIND, scope="everywhere"))], "of scope project or version"),
        ([Entry("here", KIND), Entry("here", KIND)], "is provided by two distributions"),
    ],
)
def test_broken_kind_is_reported_with_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, entries: list[Entry], fault: str
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    with pytest.raises(PokeflowError, match=fault):
        plugins.document_kinds.__wrapped__()


def test_documents_are_written_after_those_that_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = {
        "a": DocumentKind("a", "project", dict, reads=("b", "elsewhere")),
        "b": DocumentKind("b", "project", dict, reads=("c",)),
        "c": DocumentKind("c", "project", dict),
        "v": DocumentKind("v", "version", bytes),
    }
    monkeypatch.setattr(kinds, "document_kinds", lambda: chain)
    assert list(kinds.kinds_of("project")) == ["c", "b", "a"]


def test_kinds_that_read_one_another_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    circle = {name: DocumentKind(name, "project", dict, reads=(other,)) for name, other in (("a", "b"), ("b", "a"))}
    monkeypatch.setattr(kinds, "document_kinds", lambda: circle)
    with pytest.raises(PokeflowError, match="document kinds read one another: "):
        kinds.kinds_of("project")


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"a": document}
    return document


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (DocumentKind("scores", "project", lambda project: 1 / 0), "document kind 'scores' failed: ZeroDivisionError"),
        (DocumentKind("scores", "project", lambda project: []), "expected a mapping or bytes"),
        (DocumentKind("scores", "project", "no_such:build"), "document kind 'scores' failed: ModuleNotFoundError"),
        (
            DocumentKind("scores", "project", lambda project: {}, schema="no_such:FORM"),
            "schema of document kind 'scores'",
        ),
        (DocumentKind("scores", "project", lambda project: {}, schema={"type": 3}), "a document's schema failed"),
        (DocumentKind("scores", "project", lambda project: nested(2000)), "cannot be written as JSON"),
    ],
)
def test_failing_kind_is_reported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: DocumentKind, fault: str
) -> None:
    flow = flow_of(tmp_path, PROJECT_LINE, {})
    for module in (documents, kinds):
        monkeypatch.setattr(module, "document_kinds", lambda: {"scores": kind})
    with pytest.raises(PokeflowError, match=fault):
        publishing.publish(flow, run_flow(flow))
