"""Every option of every group composes, and resolves or says what is missing."""

from pathlib import Path

import pytest
import yaml

from pokeflow import plugins
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.errors import ConfigError
from pokeflow.flow import Flow
from pokeflow_mlflow import address

SPEC = {
    "dinov3-teacher": ("v1.0", "teacher", ()),
    "efficientnet-student-stage1": ("v1.0", "student", ("dinov3-teacher",)),
    "efficientnet-student-stage2": ("v2.0", "student", ("efficientnet-student-stage1", "dinov3-teacher")),
    "efficientnet-hailo-optimized": ("v2.1", "optimized", ("efficientnet-student-stage2",)),
}
NEEDS = {
    "store=s3": ("store.remote=s3://bucket",),
    "data=folder": ("data.root=conf",),
    "tracking=toy": ("registry=none",),
    "tracking=mlflow-s3": ("store=s3", "store.remote=s3://bucket"),
    "tracking=mlflow-server": ("tracking.uri=http://127.0.0.1:5000",),
    "tracking=mlflow-sagemaker": (
        "tracking.uri=arn:aws:sagemaker:us-east-2:123456789012:mlflow-tracking-server/cards",
    ),
    "executor=sagemaker": ("store=s3", "store.remote=s3://bucket"),
    "registry=sagemaker": ("store=s3", "store.remote=s3://bucket"),
    "experiment=full": ("store.remote=s3://bucket",),
    "lineage=toy": ("data=none", "target=toy", "tracking=none"),
}
MISSING = {
    "target=none": "no backend for stage 'compile' named 'none'",
    "experiment=full": "data.csv",
    "tracking=mlflow-sagemaker": "needs the package sagemaker-mlflow, which is not installed",
    "data=folder": "data.csv",
}


def options() -> list[str]:
    return [f"{g}={o}" for g in omegaconf.GROUPS if g != "hydra" for o in omegaconf.options(g)]


def flow(*overrides: str) -> Flow:
    return resolve(omegaconf.plain(composition.composed(overrides)), plugins.registry(plugins.manager()))


@pytest.mark.parametrize("option", options())
def test_every_option_resolves_or_says_what_is_missing(option: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("POKEFLOW_CARDS", str(tmp_path))
    schemes = address._schemes()
    monkeypatch.setattr(
        address, "_schemes", lambda: schemes - {"arn"}
    )  # sagemaker-mlflow is not needed, and may be here
    needs = NEEDS.get(option, ())
    if option in MISSING:
        with pytest.raises(ConfigError, match=MISSING[option]):
            flow(option, *needs)
    else:
        assert flow(option, *needs).steps


@pytest.mark.parametrize(
    ("option", "faults"),
    [
        ("mlflow-s3", ["tracking.uri: Interpolation key 'store.remote' not found"]),
        ("mlflow-server", ["tracking.uri: no value. Set it in YAML or with tracking.uri=…"]),
        ("mlflow-sagemaker", ["tracking.uri: no value. Set it in YAML or with tracking.uri=…"]),
    ],
)
def test_a_tracking_option_says_what_it_lacks(option: str, faults: list[str], monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError) as error:
        flow(f"tracking={option}")
    assert all(fault in str(error.value) for fault in faults)


def test_every_tracking_option_puts_the_owners_models_into_the_owners_experiments() -> None:
    for name in omegaconf.options("tracking"):
        tracking = omegaconf.plain(composition.composed([f"tracking={name}", *NEEDS.get(f"tracking={name}", ())]))[
            "tracking"
        ]
        if tracking["backend"] == "mlflow":
            assert tracking["experiments"] == {
                "dinov3-teacher": "pokemon-card-dinov3-teacher",
                "efficientnet-student-stage1": "pokemon-card-student-distillation-stage1",
                "efficientnet-student-stage2": "pokemon-card-student-distillation-stage2",
            }, name


def test_mlflow_on_s3_lies_where_the_owner_put_it() -> None:
    tracking = omegaconf.plain(
        composition.composed(["tracking=mlflow-s3", "store=s3", "store.remote=s3://pokemon-card-training-us-east-2"])
    )["tracking"]
    tree = "s3://pokemon-card-training-us-east-2/project/pokemon-card-recognition"
    assert tracking["uri"] == f"{tree}/experiments/mlflow"


def test_the_default_lineage_is_the_owners() -> None:
    default = flow()
    assert {n: (s.version, s.type, default.parents[n]) for n in SPEC for s in [default.maker(n)]} == SPEC
    assert {s.stage for s in default.steps} == {
        "prepare",
        "train",
        "distill",
        "compile",
        "profile",
        "package",
        "benchmark",
        "bundle",
        "register",
        "pipeline",
    }


def test_the_full_recipe_is_the_owners(monkeypatch) -> None:
    monkeypatch.setenv("POKEFLOW_CARDS", "conf")
    monkeypatch.setenv("POKEFLOW_REMOTE", "s3://bucket")
    data = omegaconf.plain(composition.composed(["experiment=full"]))
    teacher = data["lineage"]["models"]["dinov3-teacher"]["params"]["network"]
    student = data["lineage"]["models"]["efficientnet-student-stage1"]["params"]
    assert (teacher["name"], teacher["embedding_dim"], teacher["pretrained"]) == ("vit_large_patch16_dinov3", 768, True)
    assert student["network"]["name"] == "efficientnet_lite0"
    assert student["losses"] == {"feature": 0.35, "kl": 0.25, "attention": 0.25, "highfreq": 0.15}
    assert data["data"]["preprocessing"]["size"] == 224
    trained = [model["on"] for model in data["lineage"]["models"].values() if model["stage"] in ("train", "distill")]
    assert trained == [{"name": "sagemaker", "params": {"instance_type": "ml.p4d.24xlarge"}}] * 3
    assert (data["executor"]["name"], data["registry"]["backend"]) == ("sagemaker", "sagemaker")
    assert data["target"]["name"] == "hailo8l"


def test_only_experiments_and_sweeps_write_outside_their_group() -> None:
    for file in omegaconf.shipped_conf().rglob("*.yaml"):
        is_global = "@package _global_" in file.read_text()
        assert is_global == (file.parent.name in ("experiment", "sweep")), file


def test_no_configuration_can_run_code() -> None:
    for file in omegaconf.shipped_conf().rglob("*.yaml"):
        if "hydra" not in file.relative_to(omegaconf.shipped_conf()).parts:
            assert "_target_" not in file.read_text(), file


def test_defaults_lists_are_one_deep() -> None:
    for file in omegaconf.shipped_conf().glob("*/*.yaml"):
        listed = (yaml.safe_load(file.read_text()) or {}).get("defaults", [])
        assert all(str(key).startswith("override /") for entry in listed for key in entry), file


def test_an_option_shipped_twice_is_an_error(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "twice"
    (package / "target").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "target" / "none.yaml").write_text("name: none\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(omegaconf, "config_packages", lambda pm: ["twice"])
    with pytest.raises(ConfigError, match=r"target/none.yaml: shipped by both pokeflow and twice"):
        composition.composed([])
