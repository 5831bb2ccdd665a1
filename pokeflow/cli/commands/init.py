"""Command ``init``, which creates a project folder with a configuration of its own to edit."""

import argparse
import re
import shutil
from pathlib import Path

from pokeflow.config import NAME, shipped_conf
from pokeflow.errors import ConfigError, Fault

README = """\
# {name}

`conf/` is this project's configuration: edit it. `pokeflow`, run in this folder, composes from it. An option that
is not in `conf/` is taken from pokeflow and its plugins, so a file that you do not change may be deleted.

    pokeflow plan     # what would run
    pokeflow          # run the lineage
    pokeflow schema   # JSON Schema, so that an editor completes and checks the YAML
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet or is empty")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Copy the shipped configuration to a new folder, whose name becomes the project's."""
    folder: Path = args.folder
    if folder.resolve() == Path.cwd().resolve():
        raise ConfigError([Fault("init", f"{folder} is the current folder. Name a new folder.")])
    name = folder.resolve().name
    if not NAME.fullmatch(name):
        raise ConfigError([Fault("init", f"{name!r} is not a project name: use letters, digits, '.', '_' and '-'.")])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError([Fault("init", f"{folder} exists and is not empty. Choose another folder.")])
    shutil.copytree(shipped_conf(), folder / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conf" / "project" / f"{name}.yaml").write_text(f"name: '{name}'\ndescription: ''\n", encoding="utf-8")
    main_file = folder / "conf" / "config.yaml"
    text = main_file.read_text(encoding="utf-8")
    main_file.write_text(re.sub(r"(?m)^(\s*- project:) .*$", rf"\1 '{name}'", text), encoding="utf-8")
    (folder / "README.md").write_text(README.format(name=name), encoding="utf-8")
    (folder / ".gitignore").write_text("/store/\n/.schema/\n", encoding="utf-8")
    print(f"Created {folder}. Next: cd {folder} && pokeflow plan")
    return 0
