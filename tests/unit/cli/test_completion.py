"""Complete words in a real bash, and by the queries that shells send."""

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pokeflow.cli import _completion as completion
from pokeflow.cli import dispatch
from pokeflow.errors import ConfigError
from pokeflow_testkit.support import POKEFLOW, environment

PROBE = """
eval "$(pokeflow -sc install=bash)"
complete -p pokeflow >&2
COMP_LINE="$LINE" COMP_POINT=${#LINE}
_pokeflow_complete pokeflow
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(line: str, folder: Path, probe: str = PROBE) -> list[str]:
    """Return what bash would insert for the last word of a line, after its last word break."""
    bash = shutil.which("bash")
    assert bash
    variables = environment(LINE=line, PATH=os.pathsep.join([str(Path(POKEFLOW).parent), os.environ["PATH"]]))
    done = subprocess.run(
        [bash, "--norc", "-c", probe], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert "-F _pokeflow_complete pokeflow" in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pokeflow pla", ["plan"]),
        ("pokeflow plan data=", ["folder", "none", "synthetic"]),
        ("pokeflow plan lineage=toy store.ro", ["store.root="]),
    ],
)
def test_bash_completes_commands_options_and_keys(line: str, words: list[str], tmp_path: Path) -> None:
    assert complete(line, tmp_path) == words


def read_until(terminal: int, mark: bytes, seconds: float = 60) -> bytes:
    """Read the output of a terminal up to a mark."""
    shown, until = b"", time.monotonic() + seconds
    while mark not in shown:
        assert select.select([terminal], [], [], max(until - time.monotonic(), 0))[0], shown
        shown += os.read(terminal, 65536)
    return shown


@pytest.mark.slow
def test_a_word_is_completed_on_a_terminal(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    variables = environment(PATH=os.pathsep.join([str(Path(POKEFLOW).parent), os.environ["PATH"]]), TERM="dumb")
    terminal, end = pty.openpty()
    process = subprocess.Popen([bash, "--norc", "-i"], cwd=tmp_path, env=variables, stdin=end, stdout=end, stderr=end)
    os.close(end)
    try:
        os.write(terminal, b"PS1='ready '; eval \"$(pokeflow -sc install=bash)\"\n")
        read_until(terminal, b"\nready ")
        os.write(terminal, b"pokeflow help recogn\t\n")
        assert b"usage: pokeflow recognize" in read_until(terminal, b"\nready ")
        os.write(terminal, b"pokeflow pla\tlineage=to\ttarget=to\tdata=none tracking=none clou\tnone store.ro\tx\n")
        assert b"train:teacher" in read_until(terminal, b"\nready ")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pokeflow ", {"plan", "recognize", "toy", "data=", "models=", "store."}),
        ("pokeflow -v pl", {"plan", "plugins"}),
        ("pokeflow --m", {"--multirun"}),
        ("pokeflow ls --", {"--config-dir", "--depth", "--gaps", "--help", "--json", "--quiet", "--verbose"}),
        ("pokeflow publish lineage=toy --dry", {"--dry-run"}),
        ("pokeflow lineage --format m", {"mermaid"}),
        ("pokeflow recognize --j", {"--json"}),
        ("pokeflow help rec", {"recognize"}),
        ("pokeflow plugins n", {"new"}),
        ("pokeflow plugins new target mine --", {"--help", "--to"}),
        ("pokeflow lineage=toy lineage.models.tiny.para", {"lineage.models.tiny.params."}),
        ("pokeflow experiment=[cpu,ta", {"experiment=[cpu,targets"}),
        ("pokeflow hydra/job_logging=po", {"hydra/job_logging=pokeflow"}),
        ("pokeflow ++data=syn", {"++data=synthetic"}),
        ("pokeflow lineage=nonsense store.ro", set()),
        ("pokeflow lineage=nonsense stor", {"store="}),
    ],
)
def test_every_kind_of_word_is_completed(line: str, expected: set[str]) -> None:
    words = completion.query(line)
    assert (expected <= set(words)) if line == "pokeflow " else (set(words) == expected)


def test_text_after_the_cursor_is_ignored() -> None:
    assert completion.query("pokeflow pla --gaps", "12") == ["plan"]


def test_options_of_another_folder_are_completed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("backend: null\n")
    assert completion.query(f"pokeflow plan --config-dir {tmp_path} data=m") == ["data=mine"]


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_each_shell_gets_a_script_of_its_own(
    shell: str, action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["pokeflow"])
    assert dispatch(["-sc", f"{action}={shell}"]) == 0
    function = "_pokeflow_complete" if shell == "bash" else "hydra_fish_completion" if shell == "fish" else "hydra_bash"
    assert function in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["install=bsh"], "no shell 'bsh'. Did you mean 'bash'"),
        (["instal=bash"], "Did you mean 'install=bash'"),
        ([], "Known: install=bash, uninstall=bash"),
    ],
)
def test_unknown_completion_action_is_reported(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        dispatch(["--shell-completion", *words])
