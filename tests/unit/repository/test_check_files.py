"""The check of files before a commit."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "constraints.txt").is_file())


@pytest.fixture(scope="module")
def check_files() -> ModuleType:
    """Import the script, which is in no package."""
    spec = importlib.util.spec_from_file_location("check_files", ROOT / ".github" / "scripts" / "check_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("a.txt", b"no line end", "does not end with a line end"),
        ("a.txt", b"one\r\n", "has line ends of Windows"),
        ("a.txt", b"<" * 7 + b" HEAD\n", "contains the marker of a merge conflict"),
        ("a.txt", b"0123456789abcdef" * 40_000 + b"\n", "is larger than 500 KiB"),
        (
            "a.pem",
            b"-----BEGIN PRIVATE " + b"KEY-----\n" + b"M" * 64 + b"\n",
            "contains a private key or an access key",
        ),
        ("a.env", b"id=AKIA" + b"Q7" * 8 + b"\n", "contains a private key"),
        ("a.yaml", b"a: [1\n", "cannot be parsed"),
        ("a.toml", b"a = \n", "cannot be parsed"),
    ],
)
def test_a_fault_is_reported_and_refused(
    check_files: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, fault: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert check_files.main([str(tmp_path / name)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / name}: {fault}")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b""),
        ("a.bin", b"\0binary\r\n"),
        ("a.yaml", b"---\na: !custom 1\n---\nb: 2\n"),
        ("a.md", b"an id such as AKIAIOSFODNN7EXAMPLE\n"),
    ],
)
def test_what_is_sound_passes(check_files: ModuleType, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert check_files.main([str(tmp_path / name), str(tmp_path / "absent")]) == 0
