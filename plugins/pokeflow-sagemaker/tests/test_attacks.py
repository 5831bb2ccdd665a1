"""What people and their files do wrong, across the plugin: told in a sentence, and nothing done."""

import re

import pytest

from pokeflow import compose, config, plugins
from pokeflow.resolve import resolve
from pokeflow_sagemaker.pipelines import lineage
from pokeflow_sagemaker.pipelines.steps import Gates, Register
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.provision.params import GROUP

ON_AWS = ("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")
ODD = ("card_shop", "cards.v2", "Pokémon\'s Karten", "$(id)", "名", "x" * 200)


def resolved(*overrides):
    return resolve(config.plain(compose.composed(overrides)), plugins.registry(plugins.manager()))


@pytest.mark.parametrize("name", ODD)
def test_a_project_of_any_name_has_a_group_that_aws_takes(name):
    quoted = name.replace("'", r"\'")
    flow = resolved(f"project.name='{quoted}'", *ON_AWS)
    pipelines = lineage.write(flow.step("pipeline:project").params, flow.shared).pipelines.values()
    gates = [step for pipeline in pipelines for step in pipeline.steps if isinstance(step, Gates)]
    groups = {step.group for gate in gates for step in gate.then if isinstance(step, Register)}

    assert groups == {names.group(name)}
    assert GROUP.fullmatch(names.group(name))
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}", pipeline.name) for pipeline in pipelines)


def test_projects_of_different_names_have_different_groups():
    assert len({names.group(name) for name in (*ODD, "card-shop", "card.shop")}) == len(ODD) + 2
