"""What the documents say is so: links lead somewhere, commands resolve, files named exist."""

import re
import shlex
from pathlib import Path

import pytest

from pokeflow import plugins
from pokeflow.cli._lookup import known_commands
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve

ROOT = Path(__file__).parents[3]
COMMANDS = [command.name for command in known_commands()]
PAGE = r"\bdocs/(?:decisions/)?[\w-]+\.md\b"
PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]


def test_pages_that_code_and_configuration_name_are_there() -> None:
    files = [
        *(ROOT / "conf").rglob("*.yaml"),
        *(ROOT / "pokeflow").rglob("*.py"),
        *(ROOT / "plugins").glob("*/src/**/*.*"),
    ]
    named = {(f, page) for f in files if f.suffix in (".py", ".yaml") for page in re.findall(PAGE, f.read_text())}
    assert named
    assert [(file, page) for file, page in named if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} → {target}"


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for line in page.read_text().splitlines():
            match = re.match(r"(?:\$ )?(?:\.venv/bin/)?(pokeflow(?: [^#]*)?)(?:#.*)?$", line.strip())
            if match and not line.lstrip().startswith(("pokeflow/", "pokeflow makes", "pokeflow:")):
                found.append(match[1].strip())
    return sorted(set(found))


def every_command() -> set[str]:
    return {*COMMANDS, *plugins.registry(plugins.manager()).commands}


@pytest.mark.parametrize("command", commands())
def test_commands_are_ones_that_pokeflow_takes(command: str, tmp_path: Path) -> None:
    _, *args = shlex.split(command)
    if args and args[0] in every_command():
        if args[0] != "plan":
            return
        args = args[1:]
    args = [a.replace("~/cards", str(tmp_path)) for a in args]
    if any(word in command for word in ("dinov3-teachr", "acme", "opencv", "--")):
        return  # shown for their error, or for a plugin that is only written in the page
    if "tracking=mlflow-sagemaker" in command:
        pytest.importorskip("sagemaker_mlflow")  # of an extra, which the page names
    (tmp_path / "images").mkdir()
    rows = [f"c{i},name,set,{i}" for i in range(25)]
    (tmp_path / "cards.csv").write_text("\n".join(["card_id,name,set,number", *rows]))
    for i in range(25):
        (tmp_path / "images" / f"c{i}.jpg").write_bytes(b"never decoded by a plan")
    args = [a for a in args if not a.startswith(("-m", "hydra", "sweep"))]
    args = [
        f"data.root={tmp_path}" if a.startswith("data.root=") else a.split(",")[0] if ",3e-4" in a else a for a in args
    ]
    flow = resolve(omegaconf.to_plain(composition.compose_config(args)), plugins.registry(plugins.manager()))
    assert flow.steps


def test_some_commands_were_found() -> None:
    assert len(commands()) >= 12


def test_every_command_of_the_command_line_is_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for name in every_command():
        assert re.search(rf"\b{name}\b", text), name
