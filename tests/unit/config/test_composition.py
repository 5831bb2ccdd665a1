"""Compose and resolve every option of every group, and report what is missing."""

from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from omegaconf import _utils

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config._search_path import yaml_names
from pokeflow.config.resolver import resolve
from pokeflow.errors import ConfigError
from pokeflow.flow import Flow
from pokeflow_mlflow import address

OURS = {folder.name for folder in (Path(__file__).parents[3] / "plugins").glob("pokeflow-*")}
READER = _utils.get_yaml_loader()
"""OmegaConf's own loader, from before pokeflow composes anything."""
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
    return resolve(omegaconf.to_plain(composition.compose_config(overrides)), plugins.registry(plugins.manager()))


@pytest.mark.slow
@pytest.mark.parametrize("option", options())
def test_every_option_resolves_or_says_what_is_missing(option: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("POKEFLOW_CARDS", str(tmp_path))
    schemes = address._schemes()
    monkeypatch.setattr(
        address, "_schemes", lambda: schemes - {"arn"}
    )  # sagemaker-mlflow is not needed, but may be installed
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
def test_tracking_option_reports_its_missing_values(option: str, faults: list[str], monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError) as error:
        flow(f"tracking={option}")
    assert all(fault in str(error.value) for fault in faults)


@pytest.mark.slow
def test_tracking_options_keep_the_owners_experiment_names() -> None:
    for name in omegaconf.options("tracking"):
        tracking = omegaconf.to_plain(
            composition.compose_config([f"tracking={name}", *NEEDS.get(f"tracking={name}", ())])
        )["tracking"]
        if tracking["backend"] == "mlflow":
            assert tracking["experiments"] == {
                "dinov3-teacher": "pokemon-card-dinov3-teacher",
                "efficientnet-student-stage1": "pokemon-card-student-distillation-stage1",
                "efficientnet-student-stage2": "pokemon-card-student-distillation-stage2",
            }, name


def test_mlflow_on_s3_uses_the_owners_path() -> None:
    tracking = omegaconf.to_plain(
        composition.compose_config(
            ["tracking=mlflow-s3", "store=s3", "store.remote=s3://pokemon-card-training-us-east-2"]
        )
    )["tracking"]
    tree = "s3://pokemon-card-training-us-east-2/project/pokemon-card-recognition"
    assert tracking["uri"] == f"{tree}/experiments/mlflow"


def test_the_default_lineage_is_the_owners() -> None:
    default = flow()
    assert {n: (s.version, s.type, default.parents[n]) for n in SPEC for s in [default.producer(n)]} == SPEC
    stages = {"prepare", "train", "distill", "compile", "profile", "package", "benchmark", "register"}
    assert {s.stage for s in default.steps} == stages
    assert len(default.steps) == 18


def test_cloud_adds_stages_and_keeps_model_digests() -> None:
    default, in_cloud = flow(), flow("cloud=sagemaker")
    assert {s.stage for s in in_cloud.steps} - {s.stage for s in default.steps} == {"bundle", "pipeline"}
    assert len(in_cloud.steps) == 23
    models = {step.name: step.digest for step in default.steps if step.stage != "register"}
    assert models.items() <= {step.name: step.digest for step in in_cloud.steps}.items()


def test_cloud_registry_needs_bundled_models() -> None:
    registry = ("registry=sagemaker", *NEEDS["registry=sagemaker"])
    assert "bundle:dinov3-teacher" in flow(*registry).step("register:dinov3-teacher").needs
    assert "bundle:dinov3-teacher" not in flow(*registry, "cloud=none").step("register:dinov3-teacher").needs


@pytest.fixture
def install_only(monkeypatch) -> Iterator[Callable[..., None]]:
    """Return a function that hides all plugins but those of the given names."""
    entries = metadata.entry_points(group="pokeflow")

    def only(*names: str) -> None:
        monkeypatch.setattr(metadata, "entry_points", lambda **_: [e for e in entries if e.name in names])
        plugins.manager.cache_clear()

    yield only
    monkeypatch.undo()
    plugins.manager.cache_clear()


LAPTOP = ("local", "cards", "torch", "onnxruntime")


def test_default_needs_no_cloud_tracker_or_device(install_only) -> None:
    install_only(*LAPTOP)
    default = flow()
    assert default.tracking is None
    assert {s.stage for s in default.steps} == {"prepare", "train", "distill", "compile", "profile", "benchmark"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tracking=mlflow", "tracking: no option 'mlflow'. Known: none. Install pokeflow-mlflow."),
        ("registry=sagemaker", "registry: no option 'sagemaker'. Known: none. Install pokeflow-sagemaker."),
        ("target=hailo8l", "target: no option 'hailo8l'. Known: cpu, none. Install pokeflow-hailo."),
        ("tracking=mlflw", "tracking: no option 'mlflw'. Known: none."),
    ],
)
def test_option_that_is_not_installed_is_refused(install_only, override: str, message: str) -> None:
    install_only(*LAPTOP)
    with pytest.raises(ConfigError) as error:
        flow(override)
    assert str(error.value) == message


def test_uninstalled_option_of_an_experiment_is_refused(install_only, tmp_path: Path) -> None:
    install_only(*LAPTOP)
    (tmp_path / "experiment").mkdir()
    experiment = "# @package _global_\ndefaults:\n  - override /registry: sagemaker\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(experiment)
    with pytest.raises(ConfigError, match=r"registry: no option 'sagemaker'.*Install pokeflow-sagemaker"):
        flow("--config-dir", str(tmp_path), "experiment=mine")


def test_option_of_a_user_s_folder_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mine.yaml").write_text("backend: null\n")
    assert flow("--config-dir", str(tmp_path), "tracking=mine", "registry=none").tracking is None


def test_distributions_table_lists_every_plugin_option() -> None:
    listed = yaml.safe_load((omegaconf.shipped_conf() / "distributions.yaml").read_text())
    provided = {
        name.removesuffix(".yaml"): f"pokeflow-{package.partition('.')[0].removeprefix('pokeflow_')}"
        for package in plugins.config_packages(plugins.manager())
        for name in yaml_names(package)
    }
    commands = {name: distribution for name, distribution in listed.items() if name.startswith("command/")}
    assert listed == commands | {name: distribution for name, distribution in provided.items() if distribution in OURS}


def test_distributions_table_lists_every_plugin_command() -> None:
    listed = yaml.safe_load((omegaconf.shipped_conf() / "distributions.yaml").read_text())
    provided = {
        f"command/{name}": f"pokeflow-{command.run.partition('.')[0].removeprefix('pokeflow_')}"
        for name, command in plugins.registry(plugins.manager()).commands.items()
    }
    assert {name: value for name, value in listed.items() if name.startswith("command/")} == {
        name: distribution for name, distribution in provided.items() if distribution in (*OURS, "pokeflow-browse")
    }


def test_both_yaml_loaders_agree() -> None:
    fast, own = omegaconf._yaml_loader(), READER
    for file in omegaconf.shipped_conf().rglob("*.yaml"):
        assert yaml.load(file.read_text(), fast) == yaml.load(file.read_text(), own), file


def test_the_full_recipe_is_the_owners(monkeypatch) -> None:
    monkeypatch.setenv("POKEFLOW_CARDS", "conf")
    monkeypatch.setenv("POKEFLOW_REMOTE", "s3://bucket")
    data = omegaconf.to_plain(composition.compose_config(["experiment=full"]))
    teacher = data["lineage"]["models"]["dinov3-teacher"]["params"]["network"]
    student = data["lineage"]["models"]["efficientnet-student-stage1"]["params"]
    assert (teacher["name"], teacher["embedding_dim"], teacher["pretrained"]) == ("vit_large_patch16_dinov3", 768, True)
    assert student["network"]["name"] == "efficientnet_lite0"
    assert student["losses"] == {"feature": 0.35, "kl": 0.25, "attention": 0.25, "highfreq": 0.15}
    assert data["data"]["preprocessing"]["size"] == 224
    models = data["lineage"]["models"].values()
    trained = [model["executor"] for model in models if model["stage"] in ("train", "distill")]
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
        composition.compose_config([])
