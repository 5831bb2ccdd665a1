"""A package's card: valid by SageMaker's schema, whatever the records hold, and merged with people's entries."""

import dataclasses
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow import Record
from pokeflow.gates import Verdict
from pokeflow_sagemaker.registry import card, packages
from pokeflow_sagemaker.registry.about import Registration, encode_json

from ..registry_flow import EMPTY


def text(longest):
    return {"type": "string", "maxLength": longest}


def closed(*required, **properties):
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def array(items, **limits):
    return {"type": "array", "items": items, **limits}


NAME = {"type": "string", "pattern": r"^.{1,255}$"}


def figure(*required, **properties):
    return closed("name", "value", *required, name=NAME, notes=text(1024), **properties)


METRIC = figure(
    "type",
    type={"enum": ["number", "string", "boolean"]},
    value={"anyOf": [{"type": "number"}, text(63), {"type": "boolean"}]},
)
FIGURE = figure(value={"type": "number"})
HYPERPARAMETER = closed("name", "value", name=NAME, value=NAME)
# "Model package model card schema" in AWS's page on a model version's details; what pokeflow never writes is left out.
SCHEMA = closed(
    model_overview=closed(model_creator=text(1024), model_artifact=array(text(1024), maxItems=15)),
    intended_uses=closed(
        purpose_of_model=text(2048),
        intended_uses=text(2048),
        factors_affecting_model_efficiency=text(2048),
        risk_rating={"enum": ["High", "Medium", "Low", "Unknown"]},
        explanations_for_risk_rating=text(2048),
    ),
    business_details=closed(business_problem=text(2048), business_stakeholders=text(2048), line_of_business=text(2048)),
    training_details=closed(
        objective_function={},
        training_observations=text(1024),
        training_job_details=closed(
            training_arn=text(1024),
            training_datasets=array(text(1024), maxItems=15),
            training_environment=closed(container_image=array(text(1024), maxItems=15)),
            training_metrics=array(FIGURE, maxItems=50),
            user_provided_training_metrics=array(FIGURE, maxItems=50),
            hyper_parameters=array(HYPERPARAMETER, maxItems=100),
            user_provided_hyper_parameters=array(HYPERPARAMETER, maxItems=100),
        ),
    ),
    evaluation_details=array(
        closed(
            "name",
            name={"type": "string", "pattern": r"^.{1,63}$"},
            evaluation_observation=text(2096),
            evaluation_job_arn=text(256),
            datasets=array(text(1024), maxItems=10),
            metadata={"type": "object", "additionalProperties": text(1024)},
            metric_groups=array(
                closed(
                    "name", "metric_data", name={"type": "string", "pattern": r"^.{1,63}$"}, metric_data=array(METRIC)
                )
            ),
        )
    ),
    additional_information=closed(
        ethical_considerations=text(2048),
        caveats_and_recommendations=text(2048),
        custom_details={"type": "object", "additionalProperties": text(1024)},
    ),
)


def valid(content):
    jsonschema.Draft7Validator(SCHEMA).validate(content)
    text = encode_json(content)
    assert "\n" not in text  # AWS's pattern for a card is one line
    assert len(text) <= packages.CARD
    return content


def record(**about):
    values = {
        **EMPTY,
        "task": "train:m",
        "stage": "train",
        "model": "m",
        "type": "teacher",
        "seconds": 3.0,
        "files": (),
    }
    values |= {name: {} for name in ("params", "inputs", "metrics", "facts", "reasons", "environment")}
    return Record(**{**values, **about})


def model(model_record=None, benchmark=None, **about):
    values = {
        "group": "g",
        "model": "m",
        "version": "v1.0",
        "type": "teacher",
        "record": "tasks/register/m/d/record.json",
    }
    values |= {
        "model_record": model_record or record(),
        "benchmark": benchmark,
        "bundle": record(stage="bundle"),
        "verdicts": {},
    }
    return Registration(**{**values, "uri": "s3://b/m.tar.gz", "image": "i", **about})


MODEL = record(
    params={"optim": {"lr": 0.001}, "layers": [1, 2], "note": None, "empty": ""},
    metrics={"loss": 1.5, "energy_j": None},
    facts={"architecture": "ViT", "protocol": "96 views", "training_job_arn": "arn:aws:sagemaker:…:training-job/x"},
    inputs={"train:t": "aaaa"},
    finished="2026-01-11",
    executor="sagemaker",
    backend="torch",
)
BENCH = record(
    stage="benchmark",
    backend="onnxruntime",
    metrics={"top1_accuracy": 0.9, "power_w": None},
    reasons={"power_w": "no meter"},
)


def test_card_contains_the_records_values():
    content = valid(
        card.build(
            model(
                MODEL, BENCH, verdicts={"top1_accuracy": Verdict(True, "0.9 is at least 0.8")}, data=("s3://b/data/",)
            )
        )
    )
    training = content["training_details"]["training_job_details"]
    assert training["user_provided_hyper_parameters"] == [
        {"name": "optim.lr", "value": "0.001"},
        {"name": "layers", "value": "[1, 2]"},
    ]
    assert training["user_provided_training_metrics"] == [{"name": "loss", "value": 1.5}]
    assert training["training_arn"].endswith("training-job/x")
    assert training["training_datasets"] == ["s3://b/data/"]
    assert "96 views" in content["training_details"]["training_observations"]
    (evaluation,) = content["evaluation_details"]
    assert evaluation["metadata"] == {"gate top1_accuracy": "passed: 0.9 is at least 0.8"}
    assert evaluation["metric_groups"][0]["metric_data"] == [
        {"name": "top1_accuracy", "type": "number", "value": 0.9},
        {"name": "power_w", "type": "string", "value": "not known", "notes": "no meter"},
    ]
    assert content["additional_information"]["custom_details"]["pokeflow inputs"] == "train:t=aaaa"
    assert "not known" in content["additional_information"]["custom_details"]["pokeflow cost"]


def test_card_omits_unknown_sections():
    content = valid(card.build(model()))
    assert set(content) == {"model_overview", "training_details", "additional_information"}
    assert "training_job_details" not in content["training_details"]


def test_a_model_that_sagemaker_cannot_serve_says_so():
    content = valid(card.build(model(bundle=None, image=None, uri="s3://b/folder/")))
    assert "cannot serve it" in content["additional_information"]["custom_details"]["pokeflow bundle"]


words = st.text(max_size=20) | st.sampled_from(
    ["x" * 3000, "line\nline", "“x”: 5 %", "\ud800", "https://me:secret@host"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
trees = st.recursive(
    scalars, lambda inner: st.dictionaries(words, inner, max_size=4) | st.lists(inner, max_size=4), max_leaves=8
)
verdicts = st.builds(Verdict, st.booleans(), words)
figures = st.dictionaries(words, st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=8)
records = st.builds(
    record,
    params=st.dictionaries(words, trees, max_size=5),
    metrics=figures,
    reasons=st.dictionaries(words, words, max_size=4),
    facts=st.dictionaries(words | st.sampled_from(["protocol", "device", "architecture", "image"]), trees, max_size=6),
    inputs=st.dictionaries(words, words, max_size=4),
    backend=words,
    executor=words,
    finished=words,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(records, st.none() | records, words, st.dictionaries(words, verdicts, max_size=3))
def test_a_card_is_valid_whatever_the_records_hold(trained, benchmark, description, verdicts):
    valid(card.build(model(trained, benchmark, description=description, verdicts=verdicts)))


def test_card_truncates_parameters_and_metrics_to_its_limits():
    many = {f"figure {i}": float(i) for i in range(1000)}
    trained = record(params={f"p{i}": "x" * 300 for i in range(1000)}, metrics=many)
    content = valid(card.build(model(trained, dataclasses.replace(BENCH, metrics=many))))
    details = content["training_details"]["training_job_details"]
    assert len(details["user_provided_hyper_parameters"]) == 100
    assert len(details["user_provided_training_metrics"]) == 50
    assert len(content["evaluation_details"][0]["metric_groups"][0]["metric_data"]) == 50


def test_merging_twice_changes_nothing():
    mine = card.build(model(MODEL, BENCH))
    once = card.merge({}, mine)
    assert once == mine
    assert card.merge(once, mine) == once


def test_merge_keeps_peoples_entries_and_replaces_pokeflows():
    there = json.loads(encode_json(card.build(model(MODEL, BENCH))))
    there["business_details"] = {"business_problem": "cards"}
    there["intended_uses"] = {"risk_rating": "Low"}
    there["evaluation_details"].append({"name": "by hand"})
    there["additional_information"]["custom_details"] |= {"team": "cards", "pokeflow old": "gone"}
    newer = dataclasses.replace(BENCH, metrics={"top1_accuracy": 0.5})
    after = valid(card.merge(there, card.build(model(MODEL, newer, description="Recognizes cards."))))

    assert after["business_details"] == {"business_problem": "cards"}
    assert after["intended_uses"] == {"risk_rating": "Low", "purpose_of_model": "Recognizes cards."}
    assert [e["name"] for e in after["evaluation_details"]] == ["pokeflow benchmark", "by hand"]
    assert after["evaluation_details"][0]["metric_groups"][0]["metric_data"][0]["value"] == 0.5
    details = after["additional_information"]["custom_details"]
    assert details["team"] == "cards"
    assert "pokeflow old" not in details


@pytest.mark.parametrize(
    "there", [{"evaluation_details": "x"}, {"additional_information": 3}, {"training_details": None}]
)
def test_damaged_card_is_repaired(there):
    valid(card.merge(there, card.build(model(MODEL, BENCH))))
