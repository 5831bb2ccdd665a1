"""pokeflow provision: plan, confirm, apply, and record the project's id for the manifest."""

import io
import json

import pytest

import pokeflow
from pokeflow.cli import _main as main
from pokeflow.project import _publish as publish
from pokeflow.project import receipts, tree
from pokeflow_testkit.cloud import Cloud

from ..commands_support import CLOUD_FLOW

BUCKET = "cards-of-the-command"
ID = "project_id"
Said = pytest.CaptureFixture[str]


@pytest.fixture
def words(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command for the toy project in the test cloud, without its own flags."""
    cloud.trouble(becoming=0.02)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    root = tmp_path_factory.mktemp("store")
    own = ["registry=none", "cloud.pipeline=null", "store=s3", f"store.remote=s3://{BUCKET}", f"store.root={root}"]
    return ["provision", *CLOUD_FLOW, *own]


def there(cloud: Cloud) -> bool:
    return BUCKET in [bucket["Name"] for bucket in cloud.aws("s3").list_buckets()["Buckets"]]


def test_dry_run_prints_the_plan_and_changes_nothing(words: list[str], cloud: Cloud, capsys: Said) -> None:
    assert main.run([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"create  bucket               {BUCKET}" in said
    assert "create  project" in said
    assert cloud.mutating() == {}


def test_without_a_terminal_nothing_changes(words: list[str], cloud: Cloud, capsys: Said) -> None:
    assert main.run(words) == 2
    assert "Pass --yes to apply the plan, or --dry-run" in capsys.readouterr().err
    assert cloud.mutating() == {}


@pytest.mark.slow
def test_answer_to_the_prompt_decides(words: list[str], cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    assert main.run(words) == 0
    assert cloud.mutating() == {}
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    assert main.run(words) == 0
    assert there(cloud)


@pytest.mark.slow
def test_second_run_changes_nothing_and_manifest_has_project_id(words: list[str], cloud: Cloud, capsys: Said) -> None:
    assert main.run([*words, "--yes"]) == 0
    said = capsys.readouterr().out
    assert "created  project" in said
    cloud.forget()
    assert main.run(words) == 0
    again = capsys.readouterr().out
    assert "No changes are needed." in again
    assert cloud.mutating() == {}
    flow = pokeflow.load([word for word in words[1:] if not word.startswith("--")])
    receipt = receipts.read(tree.open_tree(flow).objects, receipts.PROVISION)
    assert receipt is not None
    known = receipt[0].facts[ID]
    assert known in said
    publish.write_documents(tree.open_tree(flow))
    manifest, _ = tree.open_tree(flow).objects.read("metadata/project_manifest.json")
    assert json.loads(manifest)[ID] == known


def test_json_output_lists_the_changes(words: list[str], capsys: Said) -> None:
    assert main.run([*words, "--json", "--yes"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts[ID].startswith("p-")
    assert {change["action"] for change in facts["changes"]} == {"create"}


def test_json_without_yes_only_plans(words: list[str], cloud: Cloud, capsys: Said) -> None:
    assert main.run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[ID] is None
    assert cloud.mutating() == {}


def test_denied_changes_are_printed_and_exit_with_1(words: list[str], cloud: Cloud, capsys: Said) -> None:
    cloud.trouble(denied=["CreateStack"], becoming=0.02)
    assert main.run([*words, "--yes"]) == 1
    said = capsys.readouterr().out
    assert "changes that need more permissions:" in said
    assert "aws cloudformation deploy" in said
    assert there(cloud)


def test_differing_project_id_in_yaml_is_reported(words: list[str], capsys: Said) -> None:
    assert main.run([*words, "--yes", "project.id=p-other"]) == 0
    assert "project.id: the YAML has p-other, but the project's id is p-" in capsys.readouterr().out


def test_without_a_cloud_there_is_nothing_to_provision(words: list[str], capsys: Said) -> None:
    assert main.run([*(word for word in words if not word.startswith("cloud")), "cloud=none"]) == 2
    assert "cloud.provision: has no parameters. Set cloud=sagemaker" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("left", [b"null", b"[" * 100_000, b"\xff"])
def test_damaged_receipt_is_written_again(words: list[str], cloud: Cloud, left: bytes) -> None:
    assert main.run([*words, "--yes"]) == 0
    objects = tree.open_tree(pokeflow.load(words[1:])).objects
    sound = receipts.read(objects, receipts.PROVISION)
    assert sound is not None
    objects.write(receipts.key(receipts.PROVISION), left, match=None)

    assert main.run([*words, "--yes"]) == 0
    again = receipts.read(objects, receipts.PROVISION)
    assert again is not None
    assert again[0] == sound[0]
