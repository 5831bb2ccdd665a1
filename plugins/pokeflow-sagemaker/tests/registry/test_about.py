"""Properties and texts for SageMaker keep its patterns and lengths, whatever the records hold."""

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pokeflow_sagemaker
from pokeflow.gates import Verdict
from pokeflow_sagemaker.registry.about import MAX_PROPERTIES, marker, plain, properties, quality, sentence
from pokeflow_sagemaker.registry.params import RegisterParams

from .test_card import BENCH, MODEL, model, records, verdicts

(BACKEND,) = (b for b in pokeflow_sagemaker.pokeflow_backends() if b.stage == "register")
PLAIN = re.compile(r"[\w .:/=+\-@]+")


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(records, records, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True), verdicts)
def test_properties_and_description_satisfy_sagemakers_limits(trained, benchmark, name, verdict):
    about = model(trained, benchmark, model=name, version=name, verdicts={name: verdict})
    pairs = properties(about, "arn:aws:sagemaker:us-east-2:123456789012:artifact/x", "Approved")
    assert 0 < len(pairs) <= MAX_PROPERTIES
    for key, value in pairs.items():
        assert 0 < len(key) <= 128
        assert 0 < len(value) <= 256
    text = sentence(about)
    assert text.isprintable()
    assert len(text) <= 1024
    assert text.endswith(marker(about.key))


@given(st.text())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_plain_text_has_only_characters_valid_in_properties(text):
    cleaned = plain(text)
    assert plain(cleaned) == cleaned
    assert all(c.isalnum() or c in " _.:/=+-@" or not c.isascii() for c in cleaned)


def test_excess_metrics_are_dropped_before_other_properties():
    many = dataclasses.replace(BENCH, metrics={f"figure{i}": float(i) for i in range(100)})
    pairs = properties(model(MODEL, many), "arn", "Approved")
    assert len(pairs) == MAX_PROPERTIES
    assert {"pokeflow-key", "pokeflow-parent-1", "pokeflow-approval", "metric-figure0"} <= pairs.keys()


@pytest.mark.parametrize(
    "other",
    [
        {"version": "v1.1"},
        {"model": "other"},
        {"group": "other"},
        {"image": "other"},
        {"model_record": dataclasses.replace(MODEL, content="other")},
        {"bundle": dataclasses.replace(MODEL, content="other")},
        {"bundle": None, "image": None},
    ],
)
def test_changed_identity_changes_the_package_key(other):
    assert model(**{"model_record": MODEL, **other}).key != model(MODEL).key


@pytest.mark.parametrize("other", [{"benchmark": BENCH}, {"verdicts": {"a": Verdict(True, "")}}, {"description": "d"}])
def test_benchmark_verdicts_and_description_keep_the_package_key(other):
    assert model(**{"model_record": MODEL, **other}).key == model(MODEL).key


def test_key_is_a_valid_client_token():
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,36}", model(MODEL).key)


def test_quality_omits_unknown_metrics():
    figures = quality(BENCH)["multiclass_classification_metrics"]
    assert figures == {"accuracy": {"value": 0.9, "standard_deviation": "NaN"}}


GOOD = {"project": "p", "group": "p-models", "remote": "s3://b"}


@pytest.mark.parametrize(
    ("params", "faulty"),
    [
        ({}, []),
        ({"remote": None}, ["remote"]),
        ({"remote": "/folder"}, ["remote"]),
        ({"group": None, "project": "card_shop"}, []),
        ({"group": "p_models"}, ["group"]),
        ({"group": "g" * 64}, ["group"]),
        ({"project": ""}, ["project"]),
        ({"image": "a b"}, ["image"]),
        ({"realtime": ("m5.large",), "transform": ()}, ["realtime", "transform"]),
    ],
)
def test_parameter_faults_are_reported(params, faulty):
    assert [name for name, _ in BACKEND.faults(RegisterParams(**{**GOOD, **params}))] == faulty


def test_a_fault_says_what_to_do():
    ((_, message),) = BACKEND.faults(RegisterParams(**{**GOOD, "remote": None}))
    assert "store=s3" in message


def test_backend_has_name_and_version_in_its_digest():
    assert (BACKEND.stage, BACKEND.name, BACKEND.identity_in_digest) == ("register", "sagemaker", True)
    assert len(dataclasses.fields(RegisterParams)) <= 12
