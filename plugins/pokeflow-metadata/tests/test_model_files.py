"""Test a version's documents: they depend only on its records, not on the address of the tree."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pokeflow.plugins import document_kinds
from pokeflow.project import Version, check_document, document_of_version
from pokeflow.types import File, Record

from .documents_support import (
    BENCHMARKS,
    CLOUD,
    COMPILE,
    DISTILL1,
    DISTILL2,
    LOCAL,
    PARENTS,
    PREPARE,
    PRODUCERS,
    STAGE1,
    TEACHER,
    TEST,
    TINY,
    TRAIN,
    VAL,
    record,
)

BENCH = dict(zip((producer.model for producer in PRODUCERS), BENCHMARKS, strict=True))


def version(producer: Record, **more: Any) -> Version:
    files = (File("model.onnx", 10, "0" * 64), File("weights.pt", 10, "1" * 64))
    producer = replace(producer, files=files)
    records = {producer.stage: producer, "benchmark": BENCH[producer.model], "prepare": PREPARE}
    result = Version(LOCAL, producer.model, producer.version, producer.type, PARENTS[producer.model], records, producer)
    return replace(result, **more)


def card(subject: Version) -> str:
    return document_of_version("model_card", subject).decode()


def metrics(subject: Version) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(document_of_version("metrics", subject))
    return document


@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: producer.model)
@pytest.mark.parametrize("name", [name for name, kind in document_kinds().items() if kind.scope == "version"])
def test_version_documents_do_not_depend_on_the_project(name: str, producer: Record) -> None:
    here = version(producer)
    registered = {stage: record(f"{stage}:{producer.model}", 20) for stage in ("register", "track", "bundle")}
    there = replace(here, about=replace(CLOUD, description="said anew"), records={**here.records, **registered})
    assert document_of_version(name, here) == document_of_version(name, there)
    assert document_of_version(name, here).endswith(b"\n")


@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: producer.model)
@pytest.mark.parametrize("name", ["metrics", "training_config"])
def test_documents_match_their_schemas(name: str, producer: Record) -> None:
    assert check_document(name, document_of_version(name, version(producer))) == []


def test_metrics_have_training_and_benchmark_with_reasons() -> None:
    document = metrics(version(TRAIN))
    assert (document["digest"], document["content"]) == (TRAIN.digest, TRAIN.content)
    assert document["production"]["metrics"] == {**TRAIN.metrics, "reasons": {}}
    assert (document["production"]["protocol"], document["benchmark"]["protocol"]) == (VAL, TEST)
    assert document["benchmark"]["device"] == "AMD EPYC"
    assert document["benchmark"]["metrics"]["reasons"]["latency_p99_ms"].startswith("20 runs")
    assert document["benchmark"]["reasons"]["cost_usd"] == "executor 'local' is not billed"


def test_version_without_benchmark_has_a_reason() -> None:
    document = metrics(version(TRAIN, records={"train": TRAIN}))
    assert document["benchmark"] is None
    assert document["reasons"]["benchmark"] == "this version was published without a benchmark"
    assert "This version was published without a benchmark" in card(version(TRAIN, records={"train": TRAIN}))


def test_training_config_has_all_inputs_of_the_result() -> None:
    document = json.loads(document_of_version("training_config", version(DISTILL1)))
    assert document["params"] == DISTILL1.params
    assert document["inputs"] == DISTILL1.inputs
    assert document["parents"] == [f"{TEACHER}:v1.0"]
    assert (document["backend"], document["revision"], document["preprocessing"]) == ("torch", "1", "db0b9da47f1a")
    assert document["environment"]["packages"] == {"torch": "2.8.0"}


def test_card_has_the_usual_sections() -> None:
    titles = [line.removeprefix("## ") for line in card(version(DISTILL1)).splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details", "Lineage", "Intended use", "Training data", "How it was produced", "Evaluation", "Limitations",
        "Time, cost and energy", "How to load it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "A model of type student in the project pokemon-card-recognition. "
        "Distilled from `dinov3-teacher:v1.0` on 2026-01-10.",
        "| Parameters | 4.7M (4,700,000) |",
        f"- `{TEACHER}:v1.0`, distillation, content `{TRAIN.content}`",
        "Approach: knowledge distillation.",
        "| for testing | 3 |",
        f"- Protocol: {TEST}",
        f"- Protocol: {VAL}",
        "- `latency_p99_ms` is unknown: 20 runs were made; 100 or more are needed for this percentile",
        "- Baseline (pHash, 256 bits): `phash256_top1_accuracy` 0.25",
        "- The test split has 3 cards: a single one of them moves an accuracy by 33.3%.",
        "- Power was not measured.",
        "| distill:efficientnet-student-stage1 | sagemaker | 1,800.5 s | 4.00 US dollars |",
        f"pokeflow pull {STAGE1}:v1.0",
        "spec = Preprocessing(size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))",
    ],
)
def test_card_contains_facts_of_the_records(sentence: str) -> None:
    assert sentence in card(version(DISTILL1)).splitlines()


def test_limitations_follow_from_the_records() -> None:
    simulated, drawn = "The queries are simulated captures", "The cards are drawn by a program"
    assert simulated in card(version(DISTILL2))
    assert drawn in card(version(DISTILL2))
    photos = replace(BENCH[TINY], facts={"protocol": "photos"}, metrics={"power_w": 2.5, "top1_accuracy": 0.5})
    compiled = replace(COMPILE, facts={"protocol": "photos"})
    kinds = {"data_kind": "photos", "query_kind": "photos", "shared_artwork": 0}
    scans = replace(PREPARE, facts=kinds, metrics={})
    text = card(version(compiled, records={"benchmark": photos, "prepare": scans}))
    for absent in (simulated, drawn, "Power was not measured", "test split has", "is not recorded", "share their art"):
        assert absent not in text


@pytest.mark.parametrize(
    ("shared", "protocol", "sentence"),
    [
        (0, "0 of the cards share their art with a train card", None),
        (2, "a protocol of another plugin", "- Of the measured cards, 2 share their art with a card that the model"),
        (None, "2 of the cards share their art with a train card", "- How many of the measured cards share their art"),
    ],
)
def test_shared_art_is_a_limitation_by_field_not_by_text(
    shared: int | None, protocol: str, sentence: str | None
) -> None:
    bench = replace(BENCH[TINY], facts={"protocol": protocol, "shared_artwork": shared})
    data = replace(PREPARE, facts={name: fact for name, fact in PREPARE.facts.items() if name != "shared_artwork"})
    text = card(version(COMPILE, records={"benchmark": bench, "prepare": data}))
    limits = text.partition("## Limitations")[2].partition("##")[0]
    assert (sentence in limits) if sentence else ("share their art" not in limits)


def test_fields_missing_in_an_older_record_are_unrecorded() -> None:
    older = replace(PREPARE, facts={"protocol": TEST})
    text = card(version(COMPILE, records={"benchmark": BENCH[TINY], "prepare": older}))
    assert "- Whether the queries are photos or simulated captures is not recorded." in text
    assert "- Whether the data are photos or drawn by a program is not recorded." in text
    assert "- How many of the measured cards share their art with one that" in text


@pytest.mark.parametrize(
    ("drop", "sentence"),
    [(0.01, "1.0% fewer correctly than its"), (-0.02, "2.0% more correctly"), (0.0, "as many correctly as its")],
)
def test_accuracy_lost_by_compilation_is_a_limitation(drop: float, sentence: str) -> None:
    assert sentence in card(version(replace(COMPILE, metrics={"accuracy_drop": drop})))


def test_unrecorded_facts_are_omitted_from_the_card() -> None:
    bare = replace(TRAIN, facts={}, metrics={}, params={}, environment={}, inputs={})
    subject = Version(LOCAL, TEACHER, "v1.0", "teacher", (), {"train": bare}, bare)
    text = card(subject)
    assert "The sizes of input and output are not recorded." in text
    assert "```python" not in text
    assert "None" not in text
    assert check_document("metrics", document_of_version("metrics", subject)) == []


def test_text_of_records_is_escaped_in_the_card() -> None:
    facts = {**TRAIN.facts, "architecture": "a|b\n## Fake\n<script>", "framework": "s3://me:secret@bucket/x"}
    text = card(version(replace(TRAIN, facts=facts, params={"note": "```\n## Fake"})))
    assert "| Architecture | a\\|b ## Fake &lt;script> |" in text.splitlines()
    assert "secret" not in text
    assert text.count("````") == 2


def test_code_of_a_card_compiles() -> None:
    text = card(version(TRAIN))
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "model_card.md", "exec")
    assert "1 × 768" in code
