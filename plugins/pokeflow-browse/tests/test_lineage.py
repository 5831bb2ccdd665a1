"""Test the drawings of the lineage: text for the terminal and Mermaid, also of hundreds of versions."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow.cli import dispatch
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.project import inventory
from pokeflow.project.receipts import Receipt, unit
from pokeflow.project.tree import Tree
from pokeflow.text import COLUMNS
from pokeflow.types import About
from pokeflow_browse import configured, lineage, lineage_text
from pokeflow_browse.lineage import Graph
from pokeflow_testkit.handmade import empty, published, record, where

CHAIN = """\
╭─────────────────────────────────────────╮
│ dinov3-teacher v1.0 · teacher           │
│ c5a8edc167c99a52                        │
│ top-1 93.8%  size 24.85 MB  p50 4.27 ms │
╰─┬───────────────────────────────────────╯
  │ distillation (stage 1)
  ▼
╭────────────────────────────────────────────╮
│ efficientnet-student-stage1 v1.0 · student │
│ 3f9471baee2216d0                           │
│ top-1 84.4%                                │
╰─┬──────────────────────────────────────────╯
  │ fine-tuning (stage 2)
  ▼
╭──────────────────────────────────────────────╮
│ efficientnet-student-stage2 v2.0 · student   │
│ 6b777943adca2051                             │
│ also from dinov3-teacher v1.0 (distillation) │
╰─┬────────────────────────────────────────────╯
  │ compilation + quantization
  ▼
╭───────────────────────────────────────────────╮
│ efficientnet-hailo-optimized v2.1 · optimized │
│ 53db593962bfb546                              │
│ top-1 96.9%                                   │
╰───────────────────────────────────────────────╯"""

FORK = """\
╭────────────────╮
│ a v1 · student │
│ d-a            │
╰─┬──────────────╯
  ├─ fine-tuning (stage 2)
  │  ▼
  │  ╭────────────────╮
  │  │ b v1 · student │
  │  │ d-b            │
  │  ╰────────────────╯
  └─ fine-tuning (stage 2)
     ▼
     ╭────────────────╮
     │ c v1 · student │
     │ d-c            │
     ╰────────────────╯"""


def version(model: str, parents: tuple[str, ...] = ()) -> Receipt:
    """Return the receipt of a student distilled from others, all of version v1."""
    inputs = {f"distill:{parent}": "c" for parent in parents}
    source = record("distill", model, "v1", "student", inputs=inputs, digest=f"d-{model}")
    named = tuple(f"{parent}:v1" for parent in parents)
    return Receipt(unit(model, "v1"), (), model, "v1", "student", named, f"d-{model}", "c", (source,))


def graph_of(*receipts: Receipt) -> Graph:
    return lineage.graph(About("p"), receipts, COLUMNS)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = published(tmp_path)
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    return tree


@pytest.fixture
def graph(tree: Tree) -> Graph:
    return lineage.graph(tree.about, inventory.read(tree)[0], COLUMNS)


def test_chain_is_drawn_as_specified(graph: Graph) -> None:
    assert lineage_text.draw(graph) == CHAIN


def test_fork_is_drawn_below_its_parent() -> None:
    graph = graph_of(version("a"), version("b", ("a",)), version("c", ("a",)))
    assert lineage_text.draw(graph) == FORK


def test_unpublished_parent_is_shown_as_such() -> None:
    drawn = lineage_text.draw(graph_of(version("b", ("a",))))
    assert "│ a v1          │\n│ not published │" in drawn


def test_mermaid_has_one_line_per_version_and_edge(graph: Graph) -> None:
    lines = lineage_text.mermaid(graph).splitlines()
    assert lines[0] == "flowchart TD"
    assert lines[3] == '    n2["efficientnet-student-stage2 v2.0 · student<br/>6b777943adca2051"]'
    assert '    n0 -->|"distillation (stage 1)"| n1' in lines
    assert '    n0 -.->|"distillation"| n2' in lines


def test_names_are_escaped_in_mermaid() -> None:
    evil = replace(version("a"), model='"]; click <script>alert(1)</script> `x` #1', type="&amp;")
    graph = graph_of(evil)
    assert '#quot;]; click #lt;script#gt;alert(1)#lt;/script#gt; #96;x#96; #35;1' in lineage_text.mermaid(graph)  # fmt: skip  # noqa: E501


parents = st.lists(st.lists(st.integers(0, 30), max_size=3, unique=True), min_size=1, max_size=30)


@given(parents)
@settings(max_examples=60, deadline=None)
def test_every_version_is_drawn_once_despite_cycles(above: list[list[int]]) -> None:
    # Parents may come later or be the version itself. Only damage causes such cycles.
    receipts = [version(f"m{n}", tuple(f"m{p}" for p in ps)) for n, ps in enumerate(above)]
    graph = graph_of(*receipts)
    order = list(graph.nodes)
    assert all(order.index(edge.parent) < order.index(edge.child) for edge in graph.edges)
    drawn = lineage_text.draw(graph)
    for receipt in receipts:
        assert drawn.count(f"│ {receipt.model} v1 · student") == 1
    assert len(graph.edges) + len(graph.faults) == sum(len(set(r.parents)) for r in receipts)


def test_cycle_is_reported_and_its_edge_left_out() -> None:
    graph = graph_of(version("a", ("b",)), version("b", ("a",)), version("c", ("b",)))
    assert graph.faults == ("a:v1 descends from itself through b:v1. This edge is left out.",)
    assert [(edge.parent, edge.child) for edge in graph.edges] == [("a:v1", "b:v1"), ("b:v1", "c:v1")]


def test_hundreds_of_versions_and_deep_chains_are_drawn() -> None:
    chain = [version(f"m{n:04}", (f"m{n - 1:04}",) if n else ()) for n in range(1200)]
    graph = graph_of(*chain)
    assert len(lineage_text.draw(graph).splitlines()) == 1200 * 4 + 1199 * 2
    fan = [version("root"), *(version(f"m{n}", ("root",)) for n in range(400))]
    assert lineage_text.mermaid(graph_of(*fan)).count("-->") == 400


def test_model_is_shown_with_ancestors_and_descendants_only() -> None:
    graph = graph_of(version("a"), version("b", ("a",)), version("c", ("b",)), version("other", ("a",)))
    assert list(lineage.neighbourhood(graph, "b").nodes) == ["a:v1", "b:v1", "c:v1"]
    assert list(lineage.neighbourhood(graph, "other:v1").nodes) == ["a:v1", "other:v1"]
    with pytest.raises(ConfigError, match=r"lineage: no model or model:version 'b:v2'\. Did you mean 'b:v1'\?"):
        lineage.neighbourhood(graph, "b:v2")


def test_command_prints_or_writes_the_requested_format(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["lineage"]) == 0
    assert capsys.readouterr().out == CHAIN + "\n"
    assert dispatch(["lineage", "dinov3-teacher", "--format", "mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart TD\n")
    out = tmp_path / "new folder" / "lineage.mmd"
    assert dispatch(["lineage", "--out", str(out)]) == 0
    assert out.read_text().startswith("flowchart TD\n")
    assert "4 versions" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lineage.svg", "lineage.png"])
def test_unsupported_picture_format_suggests_mermaid(tree: Tree, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"lineage\.--out: \.\w+ is not supported\. Write \.mmd \(Mermaid\)"):
        dispatch(["lineage", "--out", str(tmp_path / name)])
    assert not (tmp_path / name).exists()


def test_missing_document_kind_suggests_the_plugin(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "document_kinds", dict)
    with pytest.raises(PokeflowError, match="Install pokeflow-metadata"):
        dispatch(["lineage"])


def test_damaged_receipt_is_reported_and_the_rest_is_drawn(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    where(tree, "metadata/receipts/models/dinov3-teacher/v1.0.json").write_text("{")
    assert dispatch(["lineage"]) == 1
    shown = capsys.readouterr()
    assert "dinov3-teacher/v1.0.json: not a valid receipt" in shown.err
    assert "not published" in shown.out


def test_command_without_published_models_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configured, "tree", lambda overrides: empty(tmp_path))
    with pytest.raises(PokeflowError, match="no model is published yet"):
        dispatch(["lineage"])
