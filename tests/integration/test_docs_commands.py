"""Check the commands of every page: pokeflow accepts their arguments, and they print what is shown.

``pokeflow_testkit.pages`` has the format. Running them takes minutes and is marked ``long``.
"""

import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pokeflow import plugins
from pokeflow.cli._arguments import RUN_FLAGS, is_override, parse, take_verbosity
from pokeflow.cli._lookup import find, known_commands
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow_cards.params import CONDITIONS
from pokeflow_testkit.pages import Block, Command, Page, missing, pokeflow_words, read_page
from pokeflow_testkit.sandbox import PARTS, Sandbox, add_cards, add_checkout, copy_template

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_LOST = 0.4
"""Share of a command's shown lines that a small run may print otherwise, such as the names of cards."""
Make = Callable[[tuple[str, ...]], Sandbox]


@functools.cache
def page(file: Path) -> Page:
    return read_page(file)


def with_commands() -> list[Path]:
    """Return the pages with a block of commands; another test checks that all can be read."""
    return [file for file in FILES if "```console" in file.read_text(encoding="utf-8")]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", with_commands(), ids=name)
def test_a_page_keeps_the_format(file: Path) -> None:
    assert page(file).commands


# Parsing: nothing runs.


def resolve_call(words: list[str]) -> None:
    """Parse the words of a call, and resolve the configuration that it composes."""
    words, _ = take_verbosity(words)
    names = [command.name for command in known_commands()]
    if words and words[0] in names:
        command = find(words[0])
        if "--help" in words or "-h" in words:
            return
        _, overrides = parse(command, words[1:])
        if not command.overrides:
            return
    else:
        flags = [word for word in words if word.startswith("-")]
        assert all(flag.partition("=")[0] in {*RUN_FLAGS, *RUN_FLAGS.values()} for flag in flags), words
        overrides = [word for word in words if is_override(word)]
    if "--help" in words or any(word.startswith("new") for word in words[1:2]):
        return
    if "tracking=mlflow-sagemaker" in words:
        pytest.importorskip("sagemaker_mlflow")  # part of an extra, which the page names
    single = [_first_trial(word) for word in overrides if not word.startswith("hydra")]
    cfg = omegaconf.to_plain(composition.compose_config(single))
    assert resolve(cfg, plugins.registry(plugins.manager())).steps is not None


def _first_trial(word: str) -> str:
    """Return the first value of a sweep's ``KEY=A,B``; commas inside brackets are a list's."""
    key, equals, value = word.partition("=")
    if "interval(" in value or "range(" in value or "choice(" in value:
        value = re.sub(r"^\w+\(([^,)]*).*", r"\1", value)
    elif not value.startswith(("[", "{", "'", '"', "\\")):
        value = value.split(",")[0]
    return f"{key}{equals}{value}"


@pytest.mark.slow
@pytest.mark.parametrize("file", with_commands(), ids=name)
def test_commands_of_a_page_are_accepted(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse them with the page's own YAML, and a few drawn cards at ``~/cards``."""
    sandbox = Sandbox(tmp_path)
    if "empty" not in page(file).setup:
        add_checkout(sandbox)
    add_cards(sandbox)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POKEFLOW_CARDS", str(tmp_path / "cards"))
    monkeypatch.setenv("POKEFLOW_REMOTE", "s3://my-bucket")
    monkeypatch.chdir(sandbox.project)
    for block in page(file).blocks:
        if block.file:
            sandbox.write(block.file, block.content)
        if block.mode == "skip" or block.exit_code == 2:
            continue
        for command in block.commands:
            for folder in re.findall(r"(?:^|&& )cd (\S+)", command.text):
                if (sandbox.folder / folder).is_dir():
                    sandbox.go(folder)
                    monkeypatch.chdir(sandbox.folder)
            for words in pokeflow_words(command.text):
                if words[:1] == ["init"]:
                    shutil.copytree(ROOT / "conf", sandbox.folder / words[1] / "conf", dirs_exist_ok=True)
                if not _of_a_plugin_in_the_page(words):
                    resolve_call([_expand(word, tmp_path) for word in words])


def _expand(word: str, home: Path) -> str:
    return re.sub(r"(^|=)~/", rf"\1{home}/", word.replace("${HOME}", str(home)).replace("$HOME", str(home)))


def _of_a_plugin_in_the_page(words: list[str]) -> bool:
    """Return whether a call needs a plugin that the page only then writes."""
    return any("acme" in word or "opencv" in word or "binder" in word for word in words)


READMES = sorted((ROOT / "plugins").glob("*/README.md"))


@pytest.mark.slow
@pytest.mark.parametrize("file", READMES, ids=name)
def test_commands_of_a_plugin_s_readme_are_accepted(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cards(Sandbox(tmp_path))
    monkeypatch.setenv("POKEFLOW_REMOTE", "s3://my-bucket")
    monkeypatch.chdir(ROOT)
    for block in re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```$", file.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if re.match(r"(\$ )?pokeflow ", line):
                for words in pokeflow_words(line.removeprefix("$ ")):
                    if not _of_a_plugin_in_the_page(words):
                        resolve_call([_expand(word, tmp_path) for word in words])


# Running: the commands of a page one after another in a folder of their own.


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Return a function that builds a sandbox by the names of its parts, each combination once, and copies it."""
    templates: dict[tuple[str, ...], Path] = {}
    number = iter(range(1000))

    def template(parts: tuple[str, ...]) -> Path:
        if parts not in templates:
            folder = tmp_path_factory.mktemp("-".join(parts))
            sandbox = Sandbox(folder)
            for part in parts:
                PARTS[part](sandbox)
            templates[parts] = folder
        return templates[parts]

    def build(setup: tuple[str, ...]) -> Sandbox:
        parts = ("checkout", "cards") if setup == ("cards",) else setup
        home = tmp_path_factory.getbasetemp() / f"reader-{next(number)}"
        return copy_template(template(parts), home)

    yield build
    for folder in templates.values():
        shutil.rmtree(folder, ignore_errors=True)


def faults(block: Block, command: Command, sandbox: Sandbox) -> Iterator[str]:
    """Run a command, and yield each difference from the page."""
    done = sandbox.run(command.text)
    where = f"line {block.line}: $ {command.text}"
    expected = block.exit_code if command is block.commands[-1] else 0
    if done.returncode != expected:
        yield f"{where}\nexit code {done.returncode}, not {expected}:\n{done.stdout[-3000:]}"
        return
    lost = missing(command.prints, done.stdout)
    shown = [line for line in command.prints if line.strip() not in ("", "…")]
    allowed = 0 if block.exit_code else MAX_LOST * len(shown)
    if len(lost) > allowed:
        yield f"{where}\ndoes not print:\n" + "\n".join(lost) + f"\nbut:\n{done.stdout[-3000:]}"


@pytest.mark.long
@pytest.mark.parametrize("file", with_commands(), ids=name)
def test_commands_of_a_page_print_what_is_shown(file: Path, make: Make, request: pytest.FixtureRequest) -> None:
    if not any(block.mode in ("run", "cloud") for block in page(file).blocks):
        pytest.skip("nothing on this page runs here")
    sandbox = make(page(file).setup)
    differences: list[str] = []
    for block in page(file).blocks:
        if block.file:
            sandbox.write(block.file, block.content)
        if block.mode == "cloud":
            cloud = request.getfixturevalue("cloud")
            sandbox.extra = cloud.env
            for command in block.commands:
                _create_buckets(cloud, command.text)
        if block.mode in ("run", "cloud"):
            for command in block.commands:
                differences += faults(block, command, sandbox)
    assert not differences, "\n\n".join(differences)


def _create_buckets(cloud, command: str) -> None:
    """Create the buckets that a command names, as their owner did; ``provision`` creates its own."""
    if "provision" in command:
        return
    there = {bucket["Name"] for bucket in cloud.client().list_buckets()["Buckets"]}
    for bucket in set(re.findall(r"s3://([\w.-]+)", command)) - there:
        cloud.bucket(bucket)


# What a run leaves is what the reference says.


@pytest.fixture(scope="module")
def records(make: Make) -> dict[Path, dict[str, Any]]:
    """Read the records of a run, by the task's folder."""
    files = sorted(make(("finished",)).project.glob("store/tasks/*/*/*/record.json"))
    assert files
    return {file.parent: json.loads(file.read_text(encoding="utf-8")) for file in files}


@pytest.mark.long
def test_every_figure_of_a_run_is_explained(records: dict[Path, dict[str, Any]]) -> None:
    text = (ROOT / "docs" / "reference" / "figures-and-facts.md").read_text(encoding="utf-8")
    figures = {figure for record in records.values() for figure in record["metrics"]}
    assert len(figures) > 40
    by_condition = {f"{condition}_top1_accuracy" for condition in CONDITIONS}
    assert "`<condition>_top1_accuracy`" in text
    assert [figure for figure in sorted(figures - by_condition) if f"`{figure}`" not in text] == []


@pytest.mark.long
def test_a_record_has_the_fields_of_the_reference(records: dict[Path, dict[str, Any]]) -> None:
    text = (ROOT / "docs" / "reference" / "task-files.md").read_text(encoding="utf-8")
    fields = set(
        re.findall(r"^\| `(\w+)` \|", text.partition("## record.json")[2].partition("## Telemetry")[0], re.MULTILINE)
    )
    assert all(fields == set(record) for record in records.values())


@pytest.mark.long
def test_a_task_has_the_files_of_the_reference(records: dict[Path, dict[str, Any]]) -> None:
    text = (ROOT / "docs" / "reference" / "task-files.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.+) \|$", text, re.MULTILINE)
    named = {
        stage: [name for name in re.findall(r"`([\w.-]+\.\w+)`", names_column) if not name.startswith("loop.")]
        for stages, names_column in rows
        for stage in re.findall(r"\w+", stages)
    }
    named["distill"] = [*(set(named["train"]) - {"references.npy"}), "distillation_report.json"]
    checked = 0
    for folder, record in records.items():
        if record["stage"] in ("prepare", "train", "distill", "compile", "benchmark", "package", "register"):
            assert named[record["stage"]], record["stage"]
            assert [name for name in named[record["stage"]] if not (folder / name).exists()] == [], folder
            checked += 1
    assert checked > 10
