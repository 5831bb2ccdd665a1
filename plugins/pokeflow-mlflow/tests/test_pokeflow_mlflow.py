import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pluggy
import pytest
from omegaconf import OmegaConf

import pokeflow_mlflow
from pokeflow import hookspecs
from pokeflow.plugins import config_packages, registry
from pokeflow.schema import parse
from pokeflow_mlflow.params import RegisterParams, TrackParams


@pytest.fixture
def pm() -> pluggy.PluginManager:
    pm = pluggy.PluginManager("pokeflow")
    pm.add_hookspecs(hookspecs)
    pm.register(pokeflow_mlflow)
    pm.check_pending()
    return pm


def test_backend_mlflow_tracks_and_registers(pm):
    backends = registry(pm).backends

    assert set(backends) == {(stage, "mlflow") for stage in ("track", "register")}
    assert backends["register", "mlflow"].identity_in_digest  # the version label is registered


def test_tracking_yaml_is_valid_and_names_three_experiments(pm):
    (package,) = config_packages(pm)
    folder = Path(pokeflow_mlflow.__file__).parent / package.rpartition(".")[2]
    cfg = OmegaConf.create({"tracking": OmegaConf.load(folder / "tracking/mlflow.yaml")})
    cfg = OmegaConf.merge(cfg, {"store": {"root": "/data/store"}, "project": {"name": "cards"}})
    data = OmegaConf.to_container(cfg, resolve=True)["tracking"]
    assert data.pop("backend") == "mlflow"

    params = parse(TrackParams, data, "tracking", faults := [])

    assert not faults
    assert params == TrackParams(
        uri="sqlite:////data/store/mlflow.db",
        project="cards",
        experiments={
            "dinov3-teacher": "pokemon-card-dinov3-teacher",
            "efficientnet-student-stage1": "pokemon-card-student-distillation-stage1",
            "efficientnet-student-stage2": "pokemon-card-student-distillation-stage2",
        },
    )
    assert not registry(pm).backends["track", "mlflow"].faults(params)


def test_faults_name_their_parameter(pm):
    track, register = (registry(pm).backends[stage, "mlflow"].faults for stage in ("track", "register"))

    assert [key for key, _ in track(TrackParams("s4://x", project="", experiments={"a": ""}))] == [
        "uri",
        "project",
        "experiments.a",
    ]
    assert [key for key, _ in register(RegisterParams("http://h", registry_uri="file:///x", experiment=""))] == [
        "registry_uri",
        "experiment",
    ]


def test_import_does_not_load_mlflow_or_sqlalchemy():
    code = (
        "import sys, pokeflow_mlflow.stages.track, pokeflow_mlflow.stages.register, pokeflow_mlflow.pyfunc\n"
        "print({'mlflow', 'sqlalchemy', 'alembic', 'numpy', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_mlflow_migration_is_registered_as_entry_point():
    (entry,) = entry_points(group="pokeflow_migrate.experiments", name="mlflow")
    assert entry.value == "pokeflow_mlflow.migrate.migration:Migration"
