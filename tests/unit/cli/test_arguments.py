"""Parse the words of a command: its own arguments, overrides in any order, and flags of all commands."""

import argparse

import pytest
from hydra._internal.utils import get_args_parser

from pokeflow.cli import _arguments as arguments
from pokeflow.errors import ConfigError, PokeflowError
from pokeflow.types import Command
from pokeflow_testkit.support import TOY_FLOW, Cli

COMMAND = Command("toy", "a command of this test", run=f"{__name__}:nothing", arguments=f"{__name__}:of_toy")


def of_toy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?")
    parser.add_argument("--to")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE")
    parser.add_argument("--colour", choices=("red", "green"))


@pytest.fixture(autouse=True)
def function_of_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the command's functions in this module, however it was imported."""
    monkeypatch.setattr(arguments, "load_function", lambda where: of_toy)


@pytest.mark.parametrize(
    ("words", "path", "to", "overrides"),
    [
        (["store.root=x"], None, None, ["store.root=x"]),
        (["models", "store.root=x"], "models", None, ["store.root=x"]),
        (["store.root=x", "models", "--to", "y"], "models", "y", ["store.root=x"]),
        (["--to=a=b", "+new=1", "~gone", "++over=2"], None, "a=b", ["+new=1", "~gone", "++over=2"]),
        (["--to", "a=b", "hydra/launcher=joblib"], None, "a=b", ["hydra/launcher=joblib"]),
        (["--config-dir", "conf", "models"], "models", None, ["--config-dir", "conf"]),
        (["--config-dir=conf"], None, None, ["--config-dir=conf"]),
        (["-cd", "conf"], None, None, ["-cd", "conf"]),
        (["s3://bucket/day=1/", "store.remote=s3://b/a=b"], "s3://bucket/day=1/", None, ["store.remote=s3://b/a=b"]),
        (["./day=1/photo.jpg"], "./day=1/photo.jpg", None, []),
        (["a=1", "--", "day=1.jpg"], "day=1.jpg", None, ["a=1"]),
    ],
)
def test_overrides_may_stand_anywhere(words: list[str], path: str | None, to: str | None, overrides: list[str]) -> None:
    parsed, others = arguments.parse(COMMAND, words)
    assert (parsed.path, parsed.to, others) == (path, to, overrides)


def test_the_value_of_an_option_is_no_override() -> None:
    parsed, others = arguments.parse(COMMAND, ["a=1", "--set", "Source=s3://b/x=y/", "--set=c=2", "d=3"])
    assert (parsed.set, others) == (["Source=s3://b/x=y/", "c=2"], ["a=1", "d=3"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ot", "x"], r"^toy: no flag '--ot'\. Did you mean '--to'\? Known: .*--config-dir.*--verbose"),
        (["--cfg", "job"], r"^toy: no flag '--cfg'\..* It is a flag of a run: 'pokeflow --cfg …', without a command"),
        (["one", "two"], r"^toy: takes no argument 'two'\. See 'pokeflow toy --help'"),
        (["--colour", "gren"], r"^toy: no choice for --colour 'gren'\. Did you mean 'green'\? Known: green, red"),
        (["--to"], r"^toy: argument --to: expected one argument\. See 'pokeflow toy --help'"),
        (["--config-dir"], r"^--config-dir: no folder. Write --config-dir DIR"),
    ],
)
def test_unknown_argument_is_reported_with_the_nearest_name(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        arguments.parse(COMMAND, words)


@pytest.mark.parametrize("words", [["data=folder"], ["--config-dir", "conf"], ["~data"]])
def test_command_without_configuration_refuses_overrides(words: list[str]) -> None:
    plain = Command("toy", "a command of this test", run=COMMAND.run, overrides=False)
    with pytest.raises(ConfigError, match=rf"toy: takes no overrides\. Remove {words[0]}"):
        arguments.parse(plain, words)


def test_argument_that_clashes_with_the_core_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-v")

    monkeypatch.setattr(arguments, "load_function", lambda where: twice)
    with pytest.raises(PokeflowError, match=r"the arguments of command 'toy' failed: ArgumentError: .*-v"):
        arguments.parse(COMMAND, [])


def test_command_with_a_missing_function_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    gone = Command("toy", "a command of this test", run="pokeflow.cli:gone", arguments="pokeflow.no_such:add_arguments")
    with pytest.raises(PokeflowError, match=r"the arguments of command 'toy' failed: ModuleNotFoundError: .*no_such"):
        arguments.parse(gone, [])


@pytest.mark.parametrize("word", ["--config", "--config-di", "--conf=conf", "--verb"])
def test_an_abbreviated_option_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no flag"):
        arguments.parse(COMMAND, [word])


@pytest.mark.parametrize(
    ("words", "rest", "verbosity"),
    [
        (["a=1", "-q", "b=2"], ["a=1", "b=2"], -1),
        (["--quiet"], [], -1),
        (["-v", "a=1", "--verbose"], ["a=1"], 2),
        (["-vv"], [], 2),
        (["--version", "-m"], ["--version", "-m"], 0),
    ],
)
def test_verbosity_flags_are_removed_and_counted(words: list[str], rest: list[str], verbosity: int) -> None:
    assert arguments.take_verbosity(words) == (rest, verbosity)


@pytest.mark.parametrize(
    "words", [["-m", "a=1,2"], ["--multi", "a=1"], ["-cjob"], ["-sc", "x"], ["--info=all"], ["a=-1"]]
)
def test_hydra_flags_are_accepted_for_a_run(words: list[str]) -> None:
    arguments.require_run_flags(words)


@pytest.mark.parametrize("flag", ["--dry-run", "-x", "-gasp", "---"])
def test_unknown_flags_are_refused_for_a_run(flag: str) -> None:
    with pytest.raises(ConfigError, match=f"^no flag '{flag}'"):
        arguments.require_run_flags(["a=1", flag])


def test_the_flags_of_a_run_are_hydras_and_two_more() -> None:
    hydras = {name for action in get_args_parser()._actions for name in action.option_strings}
    ours = {*arguments.RUN_FLAGS, *filter(None, arguments.RUN_FLAGS.values())}
    assert ours - hydras == {*arguments.QUIET, *arguments.VERBOSE}
    assert hydras <= ours


@pytest.mark.slow
def test_the_commands_read_what_a_run_has_published(cli: Cli) -> None:
    assert cli(*TOY_FLOW, "publish=true").returncode == 0
    shown = cli("ls", *TOY_FLOW)
    assert shown.returncode == 0, shown.stderr
    assert "train:teacher/model.txt" in shown.stdout
    drawn = cli("lineage", "tiny", *TOY_FLOW)
    assert "teacher v1.0 · teacher" in drawn.stdout
    assert cli("find", "tiny", *TOY_FLOW).returncode == 0
    assert cli("find", "no such thing", *TOY_FLOW).returncode == 1
    verified = cli("verify", *TOY_FLOW)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    assert cli("pull", "teacher", "--to", "there", *TOY_FLOW).returncode == 0
    unknown = cli("pull", "techer", *TOY_FLOW)
    assert unknown.returncode == 2
    assert "Did you mean 'teacher'?" in unknown.stderr
