"""Commands run here or over ssh: in both cases they end with the caller and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_hailo import host

from .ssh_server import NAME, require_ssh

# A program that prints its process id and sleeps for an hour.
IDLE = ("sh", "-c", "echo $$; exec sleep 3600")


@pytest.fixture(params=["here", "over ssh"])
def machine(request):
    """Return the host to open: this machine, or one that ssh reaches."""
    if request.param == "here":
        return None
    request.getfixturevalue("ssh_server")
    return NAME


def ended(process: int) -> bool:
    """Wait for a process that is not ours to end; false if it does not within a minute."""
    for _ in range(1200):
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # before it was opened, or before it was read
            return True
        if "\nState:\tZ" in status:
            return True
        time.sleep(0.05)
    return False


def gone(folder: str) -> bool:
    for _ in range(1200):
        if not Path(folder).exists():
            return True
        time.sleep(0.05)
    return False


def test_lines_and_the_exit_code_are_returned(machine):
    lines: list[str] = []
    with host.open_host(machine) as there:
        code = there.run(["sh", "-c", "pwd; echo of error >&2; printf 'a\\377b\\nno end'; exit 3"], lines.append)
        assert lines == [there.folder, "of error", "a\ufffdb", "no end"]
    assert code == 3


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 255", 254), ("kill -9 $$", 137), ("nope", 127)])
def test_exit_codes_are_those_of_the_command(machine, script, code):
    with host.open_host(machine) as there:
        assert there.output(["sh", "-c", script])[0] == code


def test_arguments_arrive_unchanged(machine):
    words = ["a b", "$HOME", "`id`", "'", '"', "\\", "*", "; exit 9", "é", "-o", "", "a\nb"]
    with host.open_host(machine) as there:
        code, said = there.output([sys.executable, "-c", "import sys; print(sys.argv[1:])", *words])
    assert (code, said) == (0, str(words))


def test_standard_input_of_a_command_is_empty(machine):
    with host.open_host(machine) as there:
        assert there.output(["cat"]) == (0, "")


def test_files_are_transferred_unchanged(machine, tmp_path):
    content = bytes(range(256)) * 20_000
    (tmp_path / "sent").write_bytes(content)
    with host.open_host(machine) as there:
        there.put(tmp_path / "sent", "a-file.npy")
        assert there.output(["wc", "-c", "a-file.npy"]) == (0, f"{len(content)} a-file.npy")
        there.get("a-file.npy", tmp_path / "back")
        there.put(Path(os.devnull), "empty")
        there.get("empty", tmp_path / "empty")
    assert (tmp_path / "back").read_bytes() == content
    assert (tmp_path / "empty").read_bytes() == b""


def test_files_above_the_limit_are_not_transferred(machine, tmp_path):
    (tmp_path / "sent").write_bytes(b"12345")
    with host.open_host(machine) as there:
        with pytest.raises(PokeflowError, match="5 bytes; at most 4 can be sent"):
            there.put(tmp_path / "sent", "file", limit=4)
        there.put(tmp_path / "sent", "file")
        with pytest.raises(PokeflowError, match="5 bytes; the limit is 4"):
            there.get("file", tmp_path / "back", limit=4)
    assert not (tmp_path / "back").exists()


def test_missing_file_or_folder_is_reported(machine, tmp_path):
    with host.open_host(machine) as there:
        there.run(["mkdir", "folder"])
        for name in ("absent", "folder"):
            with pytest.raises(PokeflowError, match=f"{name} does not exist"):
                there.get(name, tmp_path / "back")


def test_unwritable_target_is_reported(machine, tmp_path):
    (tmp_path / "sent").write_bytes(b"12345")
    with host.open_host(machine) as there:
        there.run(["mkdir", "taken"])
        with pytest.raises(PokeflowError, match=r"taken|sent was not transferred completely"):
            there.put(tmp_path / "sent", "taken")


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/b", ".", "..", "", ".hidden", "a b", "a\nb", "x" * 201])
def test_names_outside_the_folder_are_refused(name, tmp_path):
    with host.open_host() as there, pytest.raises(ValueError, match="not a valid file name"):
        there.get(name, tmp_path / "back")


def test_folder_is_private_and_removed_at_the_end(machine):
    with host.open_host(machine) as there:
        assert Path(there.folder).stat().st_mode & 0o777 == 0o700
        there.run(["touch", "left"])
    assert gone(there.folder)


@pytest.mark.slow
def test_timeout_ends_the_command_and_its_children(machine):
    lines: list[str] = []
    script = f"{sys.executable} -c 'import time, os; print(os.getpid(), flush=True); time.sleep(3600)' & wait"
    with host.open_host(machine) as there:
        with pytest.raises(PokeflowError, match=r"sh exceeded 1 s and was terminated\."):
            there.run(["sh", "-c", script], lines.append, seconds=1)
        assert ended(int(lines[0]))
        assert there.output(["echo", "still there"]) == (0, "still there")


def test_huge_timeout_means_no_timeout(monkeypatch):
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    with host.open_host() as there:
        assert there.run(["true"], seconds=1e300) == 0
    assert died == []


@pytest.mark.slow
def test_command_that_ignores_sigterm_is_killed(monkeypatch):
    assert "sleep 5;" in host._RUN
    monkeypatch.setattr(host, "_RUN", host._RUN.replace("sleep 5;", "sleep 0.5;"))
    lines: list[str] = []
    with host.open_host() as there:
        with pytest.raises(PokeflowError, match="exceeded"):
            there.run(["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done"], lines.append, seconds=0.5)
        assert ended(int(lines[0]))


def test_background_processes_are_ended(machine):
    with host.open_host(machine) as there:
        code, said = there.output(["sh", "-c", "sleep 3600 >/dev/null 2>&1 & echo $!"])
    assert code == 0
    assert ended(int(said))


def test_exception_in_the_caller_ends_the_command(machine):
    def refuse(line: str) -> None:
        lines.append(line)
        raise KeyboardInterrupt

    lines: list[str] = []
    with host.open_host(machine) as there:
        with pytest.raises(KeyboardInterrupt):
            there.run(IDLE, refuse)
        assert ended(int(lines[0]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_caller_ends_the_command_and_removes_the_folder(machine, how):
    code = (
        "from pokeflow_hailo import host\n"
        f"with host.open_host({machine!r}) as there:\n"
        "    print(there.folder, flush=True)\n"
        f"    there.run({IDLE!r}, lambda line: print(line, flush=True))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        folder, process = (child.stdout.readline().strip() for _ in range(2))
        child.send_signal(how)
    assert ended(int(process))
    assert gone(folder)


def test_one_connection_serves_all_commands(ssh_server, tmp_path):
    with host.open_host(NAME) as there:
        for name in ("one", "two"):
            there.put(Path(__file__), name)
            assert there.output(["cat", name])[0] == 0
            there.get(name, tmp_path / name)
    assert len(ssh_server.connections) == 1
    assert len(ssh_server.commands) == 7


def test_greeting_of_the_login_shell_is_skipped(ssh_server, monkeypatch):
    monkeypatch.setattr(host, "_KEEP", "echo Welcome!; echo; " + host._KEEP)
    with host.open_host(NAME) as there:
        assert there.folder.startswith(str(ssh_server.home))


def test_lost_connection_is_reported(ssh_server):
    with (
        host.open_host(NAME) as there,
        pytest.raises(PokeflowError, match=r"^pi: the connection was lost while sh ran"),
    ):
        there.run(IDLE, lambda _: ssh_server.cut())
    assert gone(there.folder)


def test_rejected_key_is_reported_without_a_prompt(ssh_server):
    ssh_server.configure(key="other_key")
    with (
        pytest.raises(PokeflowError, match=r"^pi: rejects the login without a password\. .*ssh-copy-id pi"),
        host.open_host(NAME),
    ):
        pass


def test_unknown_host_key_is_not_trusted(ssh_server):
    ssh_server.configure(known_hosts="absent")
    with pytest.raises(PokeflowError, match=r"^pi: its key is unknown here\. Run ssh pi once"), host.open_host(NAME):
        pass
    assert ssh_server.commands == []


def test_changed_host_key_is_not_trusted(ssh_server):
    ssh_server.configure(known_hosts="changed_hosts")
    with pytest.raises(PokeflowError, match="its key differs from the one that ssh knows"), host.open_host(NAME):
        pass
    assert ssh_server.commands == []


def test_unreachable_host_is_reported(ssh_server):
    ssh_server.port = 1
    ssh_server.configure()
    with pytest.raises(PokeflowError, match="no ssh server answers"), host.open_host(NAME):
        pass


def test_missing_ssh_client_names_the_package(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with (
        pytest.raises(PokeflowError, match=r"^ssh: not on this machine\. Install the package openssh-client"),
        host.open_host(NAME),
    ):
        pass


def test_without_ssh_a_test_is_skipped_unless_it_is_required(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("POKEFLOW_REQUIRE_SSH", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install openssh-client"):
        require_ssh()
    monkeypatch.setenv("POKEFLOW_REQUIRE_SSH", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install openssh-client"):
        require_ssh()


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=id", "a b", "", "user@", "@host", "user@-host", "a;b", "a\nb", "$(id)", "a'b", "x" * 300]
)
def test_invalid_address_never_reaches_ssh(name, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(PokeflowError, match="not an address"), host.open_host(name):
        pass


@pytest.mark.parametrize("name", ["pi", "pi@raspberrypi.local", "10.0.0.7", "user@fe80::1", "a_b-c.example"])
def test_common_addresses_are_accepted(name):
    assert host.ADDRESS.fullmatch(name)


@given(st.text(max_size=30))
def test_valid_address_is_one_word_and_no_option(name):
    if host.ADDRESS.fullmatch(name):
        assert not name.startswith("-")
        assert "@-" not in name
        assert name.isascii()
        assert not any(letter.isspace() or letter in "'\"$`;&|<>()\\" for letter in name)
