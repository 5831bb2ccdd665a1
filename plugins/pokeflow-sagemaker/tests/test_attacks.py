"""Faulty input from users and their files: reported in one sentence, and nothing is done."""

import re

import pytest

from pokeflow import ConfigError, PokeflowError, plugins
from pokeflow.cli import _main as main
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.objects import _uri as uri
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.pipelines import lineage
from pokeflow_sagemaker.pipelines.steps import Gates, Register, step_name
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.provision.params import GROUP

ON_AWS = ("store=s3", "store.remote=s3://bucket/p", "store.region=us-east-1", "registry=sagemaker")
ODD = ("card_shop", "cards.v2", "Pokémon's Karten", "$(id)", "名", "x" * 200)


def resolved(*overrides):
    return resolve(omegaconf.to_plain(composition.compose_config(overrides)), plugins.registry(plugins.manager()))


@pytest.mark.parametrize("name", ODD)
def test_any_project_name_gives_a_valid_group_name(name):
    quoted = name.replace("'", r"\'")
    flow = resolved(f"project.name='{quoted}'", *ON_AWS)
    pipelines = lineage.write(flow.step("pipeline:project").params, flow.remote_store).pipelines.values()
    gates = [step for pipeline in pipelines for step in pipeline.steps if isinstance(step, Gates)]
    groups = {step.group for gate in gates for step in gate.then if isinstance(step, Register)}

    assert groups == {names.group(name)}
    assert GROUP.fullmatch(names.group(name))
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}", pipeline.name) for pipeline in pipelines)


def test_projects_of_different_names_have_different_groups():
    assert len({names.group(name) for name in (*ODD, "card-shop", "card.shop")}) == len(ODD) + 2


def test_similar_model_names_have_distinct_steps():
    alike = ("a.b", "a-b", "a_b", "m" * 120 + "1", "m" * 120 + "2")
    named = {step_name("train", model) for model in alike}

    assert len(named) == len(alike)
    assert all(re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,56}", name) for name in named)
    assert step_name("train", "a-b") == "train-a-b"


SETTINGS = [
    ({"AWS_PROFILE": "nope"}, "nope"),
    ({"AWS_CONFIG_FILE": "{broken}"}, "Unable to parse config file"),
    ({"AWS_MAX_ATTEMPTS": "many", "AWS_REGION": "us-east-1"}, "'many'"),
    ({"AWS_RETRY_MODE": "hard", "AWS_REGION": "us-east-1"}, '"hard"'),
    ({"AWS_REGION": "us east"}, "'us east'"),
    ({"AWS_ENDPOINT_URL": "localhost:1", "AWS_REGION": "us-east-1"}, "localhost:1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "says"), SETTINGS)
def test_invalid_aws_settings_are_reported(variables, says, tmp_path, monkeypatch):
    broken = tmp_path / "config"
    broken.write_text("[default\nregion = us-east-1\n")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(broken=broken))

    with pytest.raises(ConfigError, match=r"^AWS's settings: .*\. Correct the AWS_") as raised:
        aws.account(None)
    assert says in str(raised.value)
    with pytest.raises(PokeflowError) as raised:
        next(uri.open_uri("s3://bucket", region=variables.get("AWS_REGION")).list(""), None)
    assert says in str(raised.value) or "AWS_PROFILE names a profile" in str(raised.value)
    assert "connection was cut" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("deploy.name='a b'", "deploy.name: 'a b' is not a valid endpoint name"),
        ("deploy.instance_type=m5", "deploy.instance_type: 'm5' is not a SageMaker instance type"),
        ("transform.at_once=0", "transform.at_once: 0 is not between"),
    ],
)
def test_serving_parameters_of_a_pipeline_are_checked(override, says):
    with pytest.raises(ConfigError, match=says):
        resolved("cloud=sagemaker", f"cloud.pipeline.params.{override}")


def test_unknown_model_to_serve_gets_a_suggestion():
    flow = resolved(*ON_AWS, "cloud.pipeline.params.serve=dinov3-techer")
    with pytest.raises(ConfigError, match="Did you mean 'dinov3-teacher'"):
        lineage.write(flow.step("pipeline:project").params, flow.remote_store)


@pytest.mark.parametrize("stage", ["deploy", "transform", "provision", "serve"])
def test_pipelines_remain_when_another_service_is_disabled(stage):
    flow = resolved(*ON_AWS, f"cloud.{stage}=null")
    assert len(lineage.write(flow.step("pipeline:project").params, flow.remote_store).pipelines) == 6


@pytest.mark.slow
def test_endpoint_can_be_deleted_without_bundle_or_bucket(cloud, tmp_path, capsys):
    cloud.trouble(becoming=0.01)
    sagemaker, name = cloud.aws("sagemaker"), "pokemon-card-recognition-dinov3-teacher"
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve"
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=cloud.role, PrimaryContainer={"Image": image})
    machines = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    variants = [{"VariantName": "main", "ModelName": "m", **machines}]
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
    tags = names.tags("pokemon-card-recognition")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="c", Tags=tags)
    cloud.vanish()
    store = ("store=s3", f"store.remote={cloud.uri}/p", f"store.region={cloud.region}", f"store.root={tmp_path}")

    assert main.run(["deploy", "dinov3-teacher", "--delete", "cloud=sagemaker", *store]) == 0
    assert f"endpoint {name}" in capsys.readouterr().out
    assert sagemaker.list_endpoints()["Endpoints"] == []
