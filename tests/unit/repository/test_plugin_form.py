"""Check that plugins have the common form, name existing functions, and require what they import."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from pokeflow import plugins
from pokeflow.types import Backend, Command, Executor, load_function, load_params
from pokeflow_testkit.plugin_form import faults_of_form

PLUGINS = Path(__file__).parents[3] / "plugins"
FORM = (
    "browse",
    "cards",
    "edge",
    "hailo",
    "migrate",
    "mlflow",
    "onnxruntime",
    "openvino",
    "sagemaker",
    "torch",
    "vision",
)


@pytest.mark.parametrize("name", FORM)
def test_plugin_has_the_common_form(name: str) -> None:
    assert faults_of_form(PLUGINS / f"pokeflow-{name}") == []


@pytest.mark.parametrize(
    "backend", plugins.registry(plugins.manager()).backends.values(), ids=lambda b: f"{b.stage}:{b.name}"
)
def test_functions_named_by_a_backend_exist(backend: Backend) -> None:
    named = [where for where in (backend.run, backend.check, backend.fingerprint) if where]
    assert all(callable(load_function(where)) for where in named)
    load_params(backend)


@pytest.mark.parametrize("executor", plugins.registry(plugins.manager()).executors.values(), ids=lambda e: e.name)
def test_functions_named_by_an_executor_exist(executor: Executor) -> None:
    named = [executor.run, executor.price, executor.limit, executor.check, executor.bill]
    assert all(callable(load_function(where)) for where in named if where)
    load_params(executor)


@pytest.mark.parametrize("command", plugins.commands(plugins.manager()).values(), ids=lambda c: c.name)
def test_functions_named_by_a_command_exist(command: Command) -> None:
    assert all(callable(load_function(where)) for where in (command.run, command.arguments, command.check) if where)
    load_params(command)


def test_every_fault_of_an_unfit_plugin_is_reported(tmp_path: Path) -> None:
    package = tmp_path / "src" / "pokeflow_odd"
    (package / "stages").mkdir(parents=True)
    (package / "stages" / "train.py").write_text("def train(task): ...\n")
    (package / "__init__.py").write_text('"""Odd."""\nPARAMS = 3\n\n\ndef thunk(task):\n    import pokeflow\n')
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "odd"\n'
    )
    assert [fault.partition(":")[0] for fault in faults_of_form(tmp_path)] == [
        *("pyproject.toml", "pyproject.toml", "pyproject.toml", "README.md", "tests", "py.typed"),
        *("__init__.py", "__init__.py", "__init__.py", "stages/train.py"),
    ]


DISTRIBUTIONS = [PLUGINS.parent, *sorted(file.parent for file in PLUGINS.glob("*/pyproject.toml"))]
KEYS = ["description", "readme", "license", "license-files", "authors", "keywords", "classifiers", "requires-python"]
URLS = {"Documentation", "Source", "Changelog", "Issues"}


def faults_of_metadata(folder: Path) -> list[str]:
    """Return what is missing from the metadata of a distribution, one phrase for each fault."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults = [f"no {key}" for key in KEYS if not project.get(key)]
    faults += [f"no address of {name}" for name in sorted(URLS - set(project.get("urls", {})))]
    packages = [*folder.glob("src/*/py.typed"), *folder.glob("pokeflow/py.typed")]
    if packages and "Typing :: Typed" not in project.get("classifiers", ()):
        faults.append("no classifier Typing :: Typed")
    if not packages:
        faults.append("no py.typed")
    if project.get("license") != "Apache-2.0" or "Apache License" not in (folder / "LICENSE").read_text("utf-8")[:200]:
        faults.append("no Apache-2.0 license with its text")
    return faults


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_every_distribution_has_complete_metadata(folder: Path) -> None:
    assert faults_of_metadata(folder) == []


DISTRIBUTION_OF = {
    "PIL": "pillow",
    "google": "protobuf",
    "yaml": "pyyaml",
    "hydra": "hydra-core",
    "mlflow": "mlflow-skinny",
}
"""Distribution of a package that has another name."""
FROM_ELSEWHERE = {
    "botocore": "of boto3, with one version",
    "boto3": "of pokeflow-s3, or on a device",
    "hailo_platform": "installed by apt",
    "hailo_sdk_client": "of the vendor, in an interpreter of its own",
    "ray": "in AWS's container",
    "inference": "a file next to the module, in AWS's container",
    "picamera2": "on a device",
    "cv2": "on a device",
}
"""Packages that no requirement of a distribution may or need to name, with the reason."""


def imported_packages(folder: Path) -> set[str]:
    """Return the top-level packages that a distribution imports, also inside functions, except its own."""
    sources = [*(folder / "src").rglob("*.py")] or [*(folder / "pokeflow").rglob("*.py")]
    own = {path.name for path in (folder / "src").glob("*")} or {"pokeflow"}
    modules = set()
    for node in (node for file in sources for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules} - own - set(sys.stdlib_module_names)


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_every_distribution_requires_what_it_imports(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in requirements}
    packages = imported_packages(folder) - FROM_ELSEWHERE.keys()
    assert {DISTRIBUTION_OF.get(package, package).lower().replace("_", "-") for package in packages} - names == set()


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_every_distribution_names_tested_systems_and_versions(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = re.findall(r'"(3\.\d+)"', (PLUGINS.parent / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert {f"Programming Language :: Python :: {version}" for version in tested} <= set(project["classifiers"])
    assert "Operating System :: POSIX :: Linux" in project["classifiers"]


def test_missing_metadata_is_reported(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("All rights reserved.\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "odd"\nreadme = "README.md"\nurls = {Source = "x"}\n')
    assert faults_of_metadata(tmp_path) == [
        *(f"no {key}" for key in ("description", "license", "license-files", "authors", "keywords", "classifiers")),
        "no requires-python",
        *(f"no address of {name}" for name in ("Changelog", "Documentation", "Issues")),
        "no py.typed",
        "no Apache-2.0 license with its text",
    ]
