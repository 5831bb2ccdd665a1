"""``pokeflow package`` builds or reuses the package of a configuration, and signs it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pokeflow import plugins
from pokeflow.cli import dispatch
from pokeflow.errors import ConfigError, PokeflowError, TaskError
from pokeflow.plugins import Registry
from pokeflow.types import Backend, Input, Result, Task
from pokeflow_testkit.support import TOY_FLOW, contents


@dataclasses.dataclass(frozen=True, slots=True)
class Pack:
    fail: bool = False


class Calls(list[tuple[Input, str, str | None]]):
    """Arguments of each call of ``sign``: the package, the target folder and the key file."""

    def pack(self, task: Task) -> Result:
        if task.params.fail:
            raise ConnectionError("the backend was set to fail")
        (task.output / "archive").write_text(task.inputs[0].record.task)
        return Result({"size_mb": 1.0})

    def sign(self, package: Input, to: str, key: str | None = None) -> dict[str, Any]:
        self.append((package, to, key))
        assert (package.folder / "archive").read_text() == "compile:tiny"
        return {"release": f"{to}/release.json", "sequence": 7}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Add a test backend to the installed ones, and record calls of ``sign`` instead of signing."""
    tasks, registry = Calls(), plugins.registry
    own = [Backend("toy", "package", tasks.pack, Pack, identity_in_digest=True, terminal=True)]
    monkeypatch.setattr("pokeflow_edge.commands.package.sign", tasks.sign)

    def more(pm: Any) -> Registry:
        known = registry(pm)
        return Registry({**known.backends, **{(b.stage, b.name): b for b in own}}, known.executors, known.commands)

    monkeypatch.setattr(plugins, "registry", more)
    return tasks


def command(root: Path, *args: str, model: str = "tiny") -> int:
    off = "lineage.post_stages.benchmark=null", "lineage.post_stages.register=null"
    packaged = f"lineage.models.{model}.post_stages.package={{backend: toy}}"
    return dispatch(["package", *TOY_FLOW, f"store.root={root}", *off, packaged, *args])


def write_key(file: Path) -> str:
    key = Ed25519PrivateKey.generate()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return str(file)


def test_package_and_its_inputs_are_built_and_released(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = write_key(tmp_path / "my.pem")
    assert command(tmp_path, "--to", "there", "--key", pem) == 0
    assert capsys.readouterr().out == "release   there/release.json\nsequence  7\n"
    ((package, to, key),) = calls
    assert (to, key) == ("there", pem)
    assert (package.record.task, package.record.version) == ("package:tiny", "v2.1")
    assert {path.name for path in (tmp_path / "tasks").iterdir()} == {"train", "distill", "compile", "package"}


def test_existing_package_is_released_unchanged(calls: Calls, tmp_path: Path) -> None:
    command(tmp_path)
    before = contents(tmp_path)
    command(tmp_path)
    assert contents(tmp_path) == before
    first, second = (package.record for package, _, _ in calls)
    assert first == second


def test_key_path_is_not_stored(calls: Calls, tmp_path: Path) -> None:
    command(tmp_path, "--key", write_key(tmp_path / "secret.pem"))
    assert contents(tmp_path)
    assert not [name for name, data in contents(tmp_path).items() if b"secret.pem" in data]


@pytest.mark.slow
def test_configuration_without_a_package_is_reported(calls: Calls, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stages"):
        dispatch(["package", *TOY_FLOW, f"store.root={tmp_path}"])
    with pytest.raises(ConfigError, match=r"target\.package: no model is packaged.*target=cpu"):
        command(tmp_path, "models=[teacher]")


def test_one_of_two_packages_must_be_selected(calls: Calls, tmp_path: Path) -> None:
    two = "lineage.models.student.post_stages.package={backend: toy}"
    with pytest.raises(ConfigError, match="these are packaged: student, tiny"):
        command(tmp_path, two)
    assert command(tmp_path, two, "models=[tiny]") == 0


@pytest.mark.parametrize("word", ["stages=[compile]", "publish=true"])
def test_reserved_override_is_refused_before_anything_runs(calls: Calls, tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match="this command sets it itself"):
        command(tmp_path, word)
    assert list(tmp_path.iterdir()) == []


def test_missing_key_is_reported_before_anything_runs(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(PokeflowError, match=r"missing\.pem: no such key\. Create one: openssl"):
        command(tmp_path, "--key", str(missing))
    monkeypatch.setenv("POKEFLOW_SIGNING_KEY", str(missing))
    with pytest.raises(PokeflowError, match="no such key"):
        command(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_default_key_is_checked_but_not_created_before_the_tasks(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokeflow_edge.release.keys.DEFAULT", tmp_path / "signing.pem")
    monkeypatch.delenv("POKEFLOW_SIGNING_KEY", raising=False)
    assert command(tmp_path / "store") == 0
    assert not (tmp_path / "signing.pem").exists()
    (tmp_path / "signing.pem").write_text("not a key")
    (tmp_path / "signing.pem").chmod(0o600)
    with pytest.raises(PokeflowError, match="not an unencrypted private key"):
        command(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["--key", ""], "--key: is empty"),
        (["--key", "~nobody-of-this-name/x.pem"], "--key: .*no user of this name"),
        (["--to", "~nobody-of-this-name"], "--to: .* cannot be a folder"),
        (["--to", "FILE"], "--to: .*file' is not a folder"),
        (["--to", "FILE/release"], "--to: .*file' is not a folder"),
    ],
)
def test_wrong_option_is_refused_before_anything_runs(
    calls: Calls, tmp_path: Path, args: list[str], fault: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=fault):
        command(tmp_path / "store", *(word.replace("FILE", str(tmp_path / "file")) for word in args))
    assert not (tmp_path / "store").exists()


def test_folder_of_a_new_key_must_be_writable(calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pokeflow_edge.release.keys.DEFAULT", tmp_path / "keys" / "signing.pem")
    monkeypatch.delenv("POKEFLOW_SIGNING_KEY", raising=False)
    (present := tmp_path / "present").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(ConfigError, match="--key: no permission to write to"):
        command(tmp_path / "store", "--to", str(present))
    assert not (tmp_path / "store").exists()


def test_failed_package_is_not_released(calls: Calls, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"package:tiny failed.*\n.*\n.*Resume with: pokeflow package"):
        command(tmp_path, "lineage.models.tiny.post_stages.package.params={fail: true}")
    assert calls == []
