"""The words of a command that reads the tree: its own and the overrides among them, in any order."""

import argparse

import pytest

from pokeflow.cli._arguments import asked
from support import TOY_FLOW, Cli


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("path", nargs="?")
    made.add_argument("--to")
    return made


@pytest.mark.parametrize(
    ("words", "path", "to", "overrides"),
    [
        (["store.root=x"], None, None, ["store.root=x"]),
        (["models", "store.root=x"], "models", None, ["store.root=x"]),
        (["store.root=x", "models", "--to", "y"], "models", "y", ["store.root=x"]),
        (["--to=a=b", "+new=1", "~gone", "++over=2"], None, "a=b", ["+new=1", "~gone", "++over=2"]),
        (["--config-dir", "conf", "models"], "models", None, ["--config-dir", "conf"]),
        (["--config-dir=conf"], None, None, ["--config-dir=conf"]),
    ],
)
def test_overrides_may_stand_anywhere(words: list[str], path: str | None, to: str | None, overrides: list[str]) -> None:
    given, others = asked(parser(), words)
    assert (given.path, given.to, others) == (path, to, overrides)


def test_what_follows_an_option_for_pairs_is_no_override() -> None:
    made = parser()
    made.add_argument("--set", action="append", metavar="KEY=VALUE")
    given, others = asked(made, ["a=1", "--set", "Source=s3://b/x=y/", "--set=c=2", "d=3"])
    assert (given.set, others) == (["Source=s3://b/x=y/", "c=2"], ["a=1", "d=3"])


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        asked(parser(), ["--gasp"])


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


def test_an_address_that_holds_a_sign_of_assignment_is_no_override() -> None:
    made = argparse.ArgumentParser()
    made.add_argument("source")
    given, overrides = asked(made, ["s3://bucket/day=1/", "store=s3", "store.remote=s3://bucket/a=b"])
    assert given.source == "s3://bucket/day=1/"
    assert overrides == ["store=s3", "store.remote=s3://bucket/a=b"]
