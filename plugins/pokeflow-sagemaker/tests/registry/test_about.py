"""What SageMaker is told in its own forms: within its patterns and lengths, whatever the records hold."""

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pokeflow_sagemaker
from pokeflow.gates import Verdict
from pokeflow_sagemaker.registry.about import PROPERTIES, marker, plain, properties, quality, sentence
from pokeflow_sagemaker.registry.params import RegisterParams

from .test_card import BENCH, MADE, model, records, verdicts

(BACKEND,) = (b for b in pokeflow_sagemaker.pokeflow_backends() if b.stage == "register")
PLAIN = re.compile(r"[\w .:/=+\-@]+")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(records, records, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True), verdicts)
def test_properties_and_description_are_such_as_sagemaker_takes(made, benchmark, name, verdict):
    about = model(made, benchmark, model=name, version=name, verdicts={name: verdict})
    found = properties(about, "arn:aws:sagemaker:us-east-2:123456789012:artifact/x", "Approved")
    assert 0 < len(found) <= PROPERTIES
    for key, value in found.items():
        assert 0 < len(key) <= 128
        assert 0 < len(value) <= 256
    text = sentence(about)
    assert text.isprintable()
    assert len(text) <= 1024
    assert text.endswith(marker(about.key))


@given(st.text())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_plain_text_holds_no_character_that_a_property_cannot(text):
    found = plain(text)
    assert plain(found) == found
    assert all(c.isalnum() or c in " _.:/=+-@" or not c.isascii() for c in found)


def test_figures_come_last_where_there_are_too_many():
    many = dataclasses.replace(BENCH, metrics={f"figure{i}": float(i) for i in range(100)})
    found = properties(model(MADE, many), "arn", "Approved")
    assert len(found) == PROPERTIES
    assert {"pokeflow-key", "pokeflow-parent-1", "pokeflow-approval", "metric-figure0"} <= found.keys()


@pytest.mark.parametrize(
    "other",
    [
        {"version": "v1.1"},
        {"model": "other"},
        {"group": "other"},
        {"image": "other"},
        {"made": dataclasses.replace(MADE, content="other")},
        {"bundle": dataclasses.replace(MADE, content="other")},
        {"bundle": None, "image": None},
    ],
)
def test_what_makes_another_package(other):
    assert model(**{"made": MADE, **other}).key != model(MADE).key


@pytest.mark.parametrize("other", [{"benchmark": BENCH}, {"verdicts": {"a": Verdict(True, "")}}, {"description": "d"}])
def test_what_makes_no_other_package(other):
    assert model(**{"made": MADE, **other}).key == model(MADE).key


def test_the_key_is_such_as_a_client_token_may_be():
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,36}", model(MADE).key)


def test_quality_leaves_out_what_is_not_known():
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
def test_faults_are_found_before_anything_runs(params, faulty):
    assert [name for name, _ in BACKEND.faults(RegisterParams(**{**GOOD, **params}))] == faulty


def test_a_fault_says_what_to_do():
    ((_, message),) = BACKEND.faults(RegisterParams(**{**GOOD, "remote": None}))
    assert "store=s3" in message


def test_the_backend_writes_name_and_version_into_its_result():
    assert (BACKEND.stage, BACKEND.name, BACKEND.identity_in_digest) == ("register", "sagemaker", True)
    assert len(dataclasses.fields(RegisterParams)) <= 12
