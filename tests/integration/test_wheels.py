"""Install combinations of wheels without a checkout, and plan and run lineages with them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from pokeflow import __version__
from pokeflow_testkit.support import TOY

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {folder.name: folder for folder in (ROOT / "plugins").iterdir() if (folder / "pyproject.toml").exists()}
LAPTOP = ("pokeflow-vision", "pokeflow-cards", "pokeflow-torch", "pokeflow-onnxruntime")
SMALL = (
    "data.cards=40", "data.queries.calibration=32", "data.photos.cards=0", "models=[dinov3-teacher]",
    "model.teacher=${model.student}", "model.student.weights=null",
    *(f"lineage.models.dinov3-teacher.params.loop.{name}=1" for name in ("epochs", "views")),
    *(f"lineage.post_stages.profile.params.{name}={n}" for name, n in (("steps", 3), ("warmup", 0), ("traced", 1))),
)  # fmt: skip
"""Overrides that make the default lineage's first model in seconds."""

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the sdist of every distribution in a folder."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, *DISTRIBUTIONS.values()):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    return folder


def install(folder: Path, wheels: Path, names: Iterable[str]) -> Path:
    """Create an environment in a folder with the wheels of these distributions, without the checkout.

    Their requirements are linked from the environment that runs the tests, except pokeflow itself.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    for site_packages in {Path(p) for p in sys.path if p.endswith("site-packages")} | {
        Path(sysconfig.get_path("purelib"))
    }:
        for entry in site_packages.iterdir():
            own = (
                "pokeflow" in entry.name.lower()
                or "mlflow_s3_store" in entry.name
                or entry.suffix == ".pth"
                or entry.name == "__pycache__"
            )
            if not own and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    files = [next(wheels.glob(f"{name.replace('-', '_')}-[0-9]*.whl")) for name in ("pokeflow", *names)]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, *map(str, files)], check=True, capture_output=True, text=True, timeout=300)
    return python


def run(python: Path, *words: str) -> str:
    """Run a command of that environment, which must succeed, and return its output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "POKEFLOW"))}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    home = python.parents[2]
    done = subprocess.run(
        [str(python), "-P", "-m", *words], cwd=home, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def where(python: Path, module: str) -> Path:
    """Return the file from which that environment imports a module."""
    code = f"import importlib, sys; print(importlib.import_module({module!r}).__file__)"
    return Path(
        subprocess.run([str(python), "-P", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


def test_every_archive_carries_its_license_and_the_one_version(wheels: Path) -> None:
    built = sorted(wheels.iterdir())
    assert len(built) == 2 * (1 + len(DISTRIBUTIONS))
    for file in built:
        if file.suffix == ".whl":
            names = zipfile.ZipFile(file).namelist()
            assert any(name.endswith("/py.typed") for name in names), file.name
        else:
            with tarfile.open(file) as archive:
                names = archive.getnames()
            assert any(name.endswith("/PKG-INFO") for name in names), file.name
        assert any(name.endswith("/LICENSE") for name in names), file.name
        assert f"-{__version__}" in file.name


def test_the_core_s_sdist_holds_no_plugin(wheels: Path) -> None:
    with tarfile.open(wheels / f"pokeflow-{__version__}.tar.gz") as archive:
        folders = {name.split("/")[1] for name in archive.getnames()}
    assert {"conf", "pokeflow", "LICENSE", "README.md"} <= folders
    assert not {"plugins", "tests", "docs"} & folders


def test_laptop_plugins_plan_and_run_the_default_lineage(tmp_path: Path, wheels: Path) -> None:
    python = install(tmp_path, wheels, LAPTOP)
    assert where(python, "pokeflow").is_relative_to(tmp_path)
    assert where(python, "pokeflow_torch").is_relative_to(tmp_path)
    assert "compile:efficientnet-hailo-optimized" in run(python, "pokeflow", "plan")
    assert "dinov3-teacher" in run(python, "pokeflow", *SMALL)
    assert "0 of 0 tasks" not in run(python, "pokeflow", *SMALL)


def test_all_distributions_work_together(tmp_path: Path, wheels: Path) -> None:
    python = install(tmp_path, wheels, DISTRIBUTIONS)
    listed = run(python, "pokeflow", "plugins")
    assert all(name in listed for name in ("pokeflow-cards", "pokeflow-sagemaker", "pokeflow-mlflow", "pokeflow-edge"))
    assert "dinov3-teacher" in run(python, "pokeflow", "plan", "cloud=sagemaker", "registry=mlflow")
    assert run(python, "pokeflow", "--help")


def test_the_core_and_a_third_party_s_plugin_run_its_lineage(tmp_path: Path, wheels: Path) -> None:
    python = install(tmp_path, wheels, ())
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    for part in TOY.iterdir():
        shutil.copytree(part, packages / part.name)
    toy = ("lineage=toy", "data=none", "target=toy", "tracking=none", "registry=none", "cloud=none")
    printed = run(python, "pokeflow", *toy)
    assert "teacher" in printed
    assert (tmp_path / "store" / "tasks" / "train").is_dir()
