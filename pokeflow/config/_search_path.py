"""Folders of the YAML, and the options of each group, determined without Hydra so that help is fast."""

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pokeflow.plugins import config_packages, manager

GROUPS = (
    "project", "lineage", "model", "data", "target", "store", "layout", "executor", "tracking", "registry", "cloud",
    "experiment", "sweep", "hydra",
)  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Pattern for the name of a model, a version or a project."""


def shipped_conf() -> Path:
    """Return the folder of the YAML shipped with pokeflow: the checkout's, or the wheel's."""
    here = Path(__file__).parents[1]
    # The checkout first: an editable install can leave a stale copy in the package.
    return next(d for d in (here.parent / "conf", here / "conf") if (d / "lineage").is_dir())


def conf_dir() -> Path:
    """Return the folder to compose from: ``conf/`` of the current folder if it has ``lineage/``, or the shipped one."""
    project_conf = Path.cwd() / "conf"
    return project_conf if (project_conf / "lineage").is_dir() else shipped_conf()


def yaml_names(package: str) -> Iterator[str]:
    """Yield the YAML files of a plugin's package, as ``group/option.yaml``."""
    return _walk(resources.files(package), "")


def _walk(folder: Traversable, prefix: str) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name


def optional_groups(file: Path) -> dict[str, str]:
    """Return the groups marked optional in a main file's defaults list, with the option that it names for each."""
    import yaml

    try:
        defaults = (yaml.safe_load(file.read_bytes()) or {}).get("defaults", [])
    except (OSError, yaml.YAMLError, AttributeError):
        return {}  # Hydra reports what is wrong with the file
    entries = [item for entry in defaults or () if isinstance(entry, dict) for item in entry.items()]
    return {key.removeprefix("optional "): str(name) for key, name in entries if str(key).startswith("optional ")}


def distribution_of(group: str, option: str) -> str | None:
    """Return the distribution that provides an option; None if it is not a known one."""
    import yaml

    file = shipped_conf() / "distributions.yaml"
    name = yaml.safe_load(file.read_bytes()).get(f"{group}/{option}")
    return None if name is None else str(name)


def options(group: str) -> list[str]:
    """Return the names that ``group=`` accepts, sorted."""
    names = {file.stem for folder in {conf_dir(), shipped_conf()} for file in folder.glob(f"{group}/*.yaml")}
    for package in config_packages(manager()):
        names |= {n.split("/")[1][:-5] for n in yaml_names(package) if n.startswith(f"{group}/")}
    return sorted(names)
