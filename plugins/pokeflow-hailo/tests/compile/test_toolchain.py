"""The compiler's process: the search for it, its answers, its failures, and the checks of its results."""

import json
import stat
from pathlib import Path

import pytest

from pokeflow import PokeflowError, UnavailableError
from pokeflow_hailo import host
from pokeflow_hailo.compile import toolchain
from pokeflow_hailo.compile.standalone import MARK


@pytest.fixture
def here():
    with host.open_host() as machine:
        yield machine


def program(folder: Path, name: str, lines: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def saying(folder: Path, **about) -> str:
    description = {"compiler": "3.33.0", "simulated": True, "system": "Linux", "machine": "x86_64", **about}
    return program(folder, "python", f"echo '{MARK}{json.dumps({'about': description})}'")


def test_compiler_reports_its_version_and_simulation(here, interpreter):
    compiler = toolchain.find_toolchain(here, interpreter())
    assert (compiler.version, compiler.simulated) == ("3.33.0", True)
    assert compiler.about["machine"] == "x86_64"


def test_interpreter_with_the_compiler_is_searched_by_name(here, interpreter, tmp_path, monkeypatch):
    interpreter()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.10").symlink_to(tmp_path / "dfc-python")
    monkeypatch.setattr(toolchain, "PYTHONS", ("python-absent", "python3.10"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert toolchain.find_toolchain(here, None).python == "python3.10"


def test_relative_path_is_resolved_from_the_working_directory(here, interpreter, tmp_path, monkeypatch):
    interpreter()
    monkeypatch.chdir(tmp_path)
    assert toolchain.find_toolchain(here, "./dfc-python").version == "3.33.0"


def test_missing_compiler_lists_tried_interpreters_with_reasons(here, tmp_path, monkeypatch):
    empty = program(tmp_path, "empty", 'echo "ModuleNotFoundError: No module named hailo_sdk_client" >&2; exit 1')
    monkeypatch.setattr(toolchain, "PYTHONS", (empty, "python-absent"))
    with pytest.raises(UnavailableError) as caught:
        toolchain.find_toolchain(here, None)
    message = str(caught.value)
    assert f"{empty}: ModuleNotFoundError: No module named hailo_sdk_client" in message
    assert "python-absent" not in message
    assert "Install hailo_dataflow_compiler 3.33" in message


def test_import_failure_is_reported_with_its_reason(here, interpreter):
    with pytest.raises(UnavailableError, match=r"libtensorflow_framework\.so\.2: cannot open"):
        toolchain.find_toolchain(here, interpreter("import:ImportError"))


def test_compiler_for_other_chips_is_refused(here, tmp_path):
    with pytest.raises(UnavailableError, match=r"has Dataflow Compiler 5\.2\.0, which compiles for other chips"):
        toolchain.find_toolchain(here, saying(tmp_path, compiler="5.2.0"))


@pytest.mark.parametrize("about", [{"machine": "aarch64"}, {"system": "Darwin"}])
def test_unsupported_machine_is_refused(here, tmp_path, about):
    with pytest.raises(UnavailableError, match=r"needs Linux on x86_64\. Set compiler\.host"):
        toolchain.find_toolchain(here, saying(tmp_path, **about))


@pytest.mark.parametrize("about", [{"compiler": 3}, {"compiler": "3; rm"}, {"simulated": None}, {"simulated": "no"}])
def test_invalid_compiler_description_is_refused(here, tmp_path, about):
    with pytest.raises(UnavailableError):
        toolchain.find_toolchain(here, saying(tmp_path, **about))


def test_compiler_without_a_version_is_accepted(here, tmp_path):
    assert toolchain.find_toolchain(here, saying(tmp_path, compiler=None)).version is None


# Runs


def run(here, tmp_path, python: str, makes=None, **request):
    into = tmp_path / "into"
    into.mkdir()
    chain = toolchain.Toolchain(here, python, "3.33.0", True, {})
    makes = {"made": 10} if makes is None else makes
    return toolchain.run(chain, request, {}, makes, into, hours=1, record=lambda line: None), into


def answering(tmp_path: Path, lines: str) -> str:
    return program(tmp_path, "python", lines)


SUM = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of foo
GOOD = json.dumps({"seconds": {"optimize": 1.5}, "files": {"made": SUM}})


def test_output_files_arrive_complete(here, tmp_path):
    answer, into = run(here, tmp_path, answering(tmp_path, f"printf foo > made; echo '{GOOD}' > result.json"))
    assert (into / "made").read_text() == "foo"
    assert answer.seconds == {"optimize": 1.5}


def test_local_input_files_are_read_and_left_unchanged(here, tmp_path):
    into, file = tmp_path / "into", tmp_path / "references.npy"
    into.mkdir()
    file.write_bytes(b"foo")
    python = answering(tmp_path, f"cp references.npy made; echo '{GOOD}' > result.json")
    chain = toolchain.Toolchain(here, python, "3.33.0", True, {})
    for _ in range(2):
        toolchain.run(chain, {}, {"references.npy": file}, {"made": 10}, into, hours=1, record=lambda line: None)
    assert (into / "made").read_bytes() == file.read_bytes() == b"foo"


def test_request_lists_the_expected_files(here, tmp_path):
    _, into = run(
        here,
        tmp_path,
        answering(tmp_path, f"cp request.json made; printf foo > made; echo '{GOOD}' > result.json"),
        step="optimize",
    )
    assert json.loads((into / "request.json").read_text()) == {"step": "optimize", "makes": ["made"]}


HOSTILE = {
    "no answer": ("exit 0", r"result\.json does not exist"),
    "an answer that is none": ("echo nonsense > result.json", "result cannot be read"),
    "a number that is none": ("""echo '{"seconds": {"a": NaN}, "files": {}}' > result.json""", "result cannot be read"),
    "deep nonsense": ("head -c 100000 /dev/zero | tr '\\0' '[' > result.json", "result cannot be read"),
    "success, and an exit code that is none": (
        f"printf foo > made; echo '{GOOD}' > result.json; exit 3",
        "reported success, but exited with exit code 3",
    ),
    "a list": ("echo '[]' > result.json", "result cannot be read"),
    "numbers that are none": ("""echo '{"seconds": {"a": "b"}, "files": {}}' > result.json""", "result cannot be read"),
    "an error without words": ("""echo '{"error": {}}' > result.json; exit 3""", "result cannot be read"),
    "an answer of megabytes": ("head -c 2000000 /dev/zero > result.json", "the limit is"),
    "a file less": (f"echo '{GOOD}' > result.json", "made does not exist"),
    "another file": (f"printf bar > made; echo '{GOOD}' > result.json", "altered in transfer"),
    "too large a file": (f"printf foofoofoofoo > made; echo '{GOOD}' > result.json", "12 bytes; the limit is 10"),
    "a link to elsewhere that is no file": (f"ln -s /dev made; echo '{GOOD}' > result.json", "made does not exist"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_results_are_refused(here, tmp_path, name):
    lines, message = HOSTILE[name]
    with pytest.raises(PokeflowError, match=message):
        run(here, tmp_path, answering(tmp_path, lines))
    assert not (tmp_path / "into" / "made").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo last words; kill -9 $$", "it was killed, possibly for lack of memory. Its last lines: last words"),
        ("kill -6 $$", "it crashed. It printed nothing"),
        ("exit 1", "exit code 1"),
    ],
)
def test_exit_without_a_result_is_reported(here, tmp_path, lines, message):
    with pytest.raises(PokeflowError, match=f"exited without a result: {message}"):
        run(here, tmp_path, answering(tmp_path, lines))


@pytest.mark.parametrize("name", toolchain.MEANINGS)
def test_each_compiler_exception_becomes_a_message(here, tmp_path, name):
    error = {"type": f"hailo_sdk_client.x.{name}", "message": "first\nsecond\u001b[31m", "step": "optimize"}
    (tmp_path / "said.json").write_text(json.dumps({"error": error}))
    with pytest.raises(PokeflowError) as caught:
        run(here, tmp_path, answering(tmp_path, f"cp {tmp_path / 'said.json'} result.json; exit 3"))
    message = str(caught.value)
    assert message.startswith(f"the Dataflow Compiler failed at optimize: {name}: first second ")
    assert message.endswith(toolchain.MEANINGS[name])
    assert "\x1b" not in message
