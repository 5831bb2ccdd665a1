"""Execution of commands on this machine, or on another one through the OpenSSH client.

In both cases ``sh`` runs the command in a temporary folder of its own and watches its standard input. When that closes,
because the work is done, this process was killed or the connection broke, the command's process group is terminated
and the folder is removed. The other machine needs only Linux and its usual tools.
"""

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from pokeflow import PokeflowError
from pokeflow_hailo.sanitize import printable

CONFIG = "POKEFLOW_SSH_CONFIG"
"""Environment variable that names a configuration file for ssh, instead of ``~/.ssh/config``."""
ADDRESS = re.compile(r"(\w[\w.-]*@)?[A-Za-z0-9_\[][\w.:\]-]{0,253}", re.ASCII)
NOT_THERE = (126, 127)
"""Exit codes of a shell that cannot find or run a program."""
MAX_FILE = 4 << 30
MAX_LINE = 1 << 16
CONNECT_SECONDS = 10
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": f"{CONNECT_SECONDS}",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
}
_MARK = "pokeflow-folder:"
_KEEP = f"""folder=$(mktemp -d "${{TMPDIR:-/tmp}}/pokeflow.XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
echo "{_MARK}$folder"
cat >/dev/null"""
# kill gets each id as a process group and as a process, since the group exists only after setsid has run. The listener
# must end with its children: sshd may use one socket for input and output, and waits while a process has it open. ssh
# reports its own failures as 255, so the command's 255 becomes 254.
_RUN = """cd {folder} || exit 126
exec 3<&0
setsid {command} 3<&- </dev/null 2>&1 &
job=$!
setsid sh -c 'cat; kill -TERM -$0 $0; sleep 5; kill -KILL -$0' $job <&3 3<&- >/dev/null 2>&1 &
listener=$!
exec 3<&-
wait $job
code=$?
kill -KILL -$listener $listener 2>/dev/null
kill -KILL -$job 2>/dev/null
[ $code = 255 ] && code=254
exit $code"""


@dataclass(frozen=True, slots=True)
class Host:
    """A connected machine with a temporary folder.

    Attributes:
        name: Name of the machine for messages.
        folder: Temporary folder on it that every file name is relative to.
        shell: Command to which a script is appended as one argument.
        local: Whether it is this machine.

    """

    name: str
    folder: str
    shell: tuple[str, ...]
    local: bool

    def run(
        self, argv: Sequence[str], on_line: Callable[[str], None] | None = None, seconds: float | None = None
    ) -> int:
        """Run a command in the folder, pass each line of its output to ``on_line``, and return its exit code.

        Standard error is part of the output, standard input is empty; exit code 128 + n means signal n. The process
        group is terminated after ``seconds``, or if ``on_line`` raises.

        Raises:
            PokeflowError: If the command exceeds ``seconds`` or the connection breaks.

        """
        script = _RUN.format(folder=shlex.quote(self.folder), command=shlex.join(argv))
        late = threading.Event()
        with self._start(script) as (process, read_errors):

            def stop() -> None:
                late.set()
                _end(process)

            timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop) if seconds is not None else None
            if timer:
                timer.start()
            try:
                assert process.stdout is not None
                while line := process.stdout.readline(MAX_LINE):
                    if on_line:
                        on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
                code = process.wait()
            finally:
                if timer:
                    timer.cancel()
                    timer.join()
            if late.is_set():
                raise PokeflowError(
                    f"{self.name}: {argv[0]} exceeded {seconds:g} s and was terminated. Raise the time limit, or use a "
                    "faster machine."
                )
            if code == 255 and not self.local:
                _fail(
                    self.name, read_errors(), f"the connection was lost while {argv[0]} ran. Run the same command again"
                )
            return code

    def output(self, argv: Sequence[str], seconds: float | None = 60) -> tuple[int, str]:
        """Run a command and return its exit code and about the first 64 KiB of its output, in printable form."""
        lines: list[str] = []

        def keep(line: str) -> None:
            if sum(map(len, lines)) < MAX_LINE:
                lines.append(printable(line, MAX_LINE))

        return self.run(argv, keep, seconds), "\n".join(lines)

    def put(self, file: Path, name: str, limit: int = MAX_FILE) -> None:
        """Upload a file; raise a PokeflowError if it has more than ``limit`` bytes or does not arrive complete."""
        target = shlex.quote(self._path(name))
        size = file.stat().st_size
        if size > limit:
            raise PokeflowError(
                f"{file}: {size:,} bytes; at most {limit:,} can be sent to {self.name}. Use fewer pictures."
            )
        script = f"cat > {target} && wc -c < {target}"
        with file.open("rb") as source, self._start(script, source) as (process, read_errors):
            assert process.stdout is not None
            received = process.stdout.read(MAX_LINE).strip()
            if process.wait() != 0 or received != str(size).encode():
                _fail(
                    self.name,
                    read_errors(),
                    f"{file.name} was not transferred completely ({size:,} bytes). Run the same command again",
                )

    def get(self, name: str, file: Path, limit: int = MAX_FILE) -> None:
        """Download a file; raise a PokeflowError if it is missing, exceeds ``limit`` or does not arrive complete."""
        path = shlex.quote(self._path(name))
        with self._start(f"test -f {path} && wc -c < {path} && cat {path}") as (process, read_errors):
            assert process.stdout is not None
            size_line = process.stdout.readline(64).strip()
            if not re.fullmatch(rb"\d{1,18}", size_line):
                _fail(self.name, read_errors(), f"{name} does not exist")
            size = int(size_line)
            if size > limit:
                process.kill()  # the rest is not read, so closing its input would not end it
                raise PokeflowError(
                    f"{self.name}: {name} has {size:,} bytes; the limit is {limit:,}. Check the program that wrote it."
                )
            received = 0
            with file.open("wb") as out:
                while received <= size and (part := process.stdout.read(1 << 20)):
                    out.write(part[: size - received])
                    received += len(part)
            if received != size or process.wait() != 0:
                _fail(
                    self.name,
                    read_errors(),
                    f"{name} was cut off in transfer ({received:,} of {size:,} bytes). Run the same command again",
                )

    def _path(self, name: str) -> str:
        if not re.fullmatch(r"(?!\.)[\w.-]{1,200}", name, re.ASCII):
            raise ValueError(f"{name!r} is not a valid file name in a host's folder")
        return f"{self.folder}/{name}"

    @contextmanager
    def _start(
        self, script: str, source: IO[bytes] | None = None
    ) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
        with _process((*self.shell, _word(script, self.local)), source) as process_and_errors:
            yield process_and_errors


@contextmanager
def open_host(name: str | None = None, config: Path | None = None) -> Iterator[Host]:
    """Open a connection to a machine, and create a temporary folder on it for the duration of the block.

    All commands share one connection. The host's key is checked as the user's configuration says; ssh never prompts
    for a password.

    Args:
        name: ``user@host`` or a name of ssh's configuration; None is this machine.
        config: Configuration file of ssh instead of the user's, as is the variable ``POKEFLOW_SSH_CONFIG``.

    Raises:
        PokeflowError: If the host is unreachable or rejects the login; the message says what to do.

    """
    label = name or "this machine"
    if name is not None and not ADDRESS.fullmatch(name):
        raise PokeflowError(f"{name!r}: not an address. Give user@host, or a name of ~/.ssh/config.")
    with tempfile.TemporaryDirectory(prefix="pokeflow-") as sockets:
        shell: tuple[str, ...] = ("sh", "-c")
        first = shell
        if name is not None:
            config_file = config or os.environ.get(CONFIG)
            options = ["-T", "-x", "-a", *(("-F", str(config_file)) if config_file else ())]
            for key, value in {**_OPTIONS, "ControlPath": f"{sockets}/ssh", "ControlPersist": "no"}.items():
                options += ["-o", f"{key}={value}"]
            shell = ("ssh", *options, "-o", "ControlMaster=no", "--", name)
            first = ("ssh", *options, "-o", "ControlMaster=yes", "--", name)
        with _process((*first, _word(_KEEP, name is None))) as (process, read_errors):
            timer = threading.Timer(6 * CONNECT_SECONDS, process.kill)
            timer.start()
            try:
                folder = _folder(process)
            finally:
                timer.cancel()
            if not folder:
                _end(process)
                _fail(label, read_errors(), "no folder could be created on it. Check its temporary folder")
            yield Host(label, folder, shell, name is None)


def _folder(process: subprocess.Popen[bytes]) -> str:
    """Return the folder that the first script prints; a login shell may print a greeting before it."""
    assert process.stdout is not None
    for _ in range(1000):
        line = process.stdout.readline(MAX_LINE)
        folder = line.decode("utf-8", "replace").rstrip("\n").removeprefix(_MARK)
        if not line or (line.startswith(_MARK.encode()) and folder.startswith("/")):
            return folder
    return ""


def _word(script: str, local: bool) -> str:
    # The user's login shell may be any shell; it only has to start sh.
    return script if local else f"exec sh -c {shlex.quote(script)}"


@contextmanager
def _process(
    argv: Sequence[str], source: IO[bytes] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Start a program and yield it with a function that returns its standard error; end it when the block ends.

    It runs in its own session, so that Ctrl-C reaches only this process, which then ends the program in order.
    """
    with tempfile.TemporaryFile() as errors:

        def read_errors() -> str:
            errors.seek(0)
            return errors.read(MAX_LINE).decode("utf-8", "replace")

        try:
            process = subprocess.Popen(
                argv,
                stdin=source or subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise PokeflowError(f"{argv[0]}: not on this machine. Install the package openssh-client.") from error
        except OSError as error:
            raise PokeflowError(f"{argv[0]}: cannot be started ({error}). Check its permissions.") from error
        try:
            yield process, read_errors
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()


def _end(process: subprocess.Popen[bytes], patience: float = 15) -> None:
    """Close the input of a process, which ends its command, and kill it after ``patience`` seconds."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fail(host: str, stderr: str, default: str) -> NoReturn:
    """Raise a PokeflowError with the advice for a message of ssh or the remote shell; ``default`` is the default."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = printable(lines[-1], 300) if lines else ""
    advice = {
        "REMOTE HOST IDENTIFICATION HAS CHANGED": "its key differs from the one that ssh knows. Find out why; "
        f"then run: ssh-keygen -R {host}",
        "Host key verification failed": f"its key is unknown here. Run ssh {host} once, and compare the key.",
        "Permission denied": f"rejects the login without a password. Install your key: ssh-copy-id {host}",
        "Could not resolve": "no such host. Check the name, and that this network resolves it.",
        "Connection refused": "no ssh server answers. Enable it (Raspberry Pi: sudo raspi-config).",
        "timed out": "does not answer. Check that it is on and reachable.",
        "No route to host": "cannot be reached. Check that it is on and in this network.",
        "Network is unreachable": "cannot be reached. Check this machine's network.",
        "No space left": "its disk is full. Free space in its temporary folder.",
        "Bad owner or permissions": "ssh rejects its configuration file. Remove write permission for others.",
    }
    sentence = next((text for mark, text in advice.items() if mark in stderr), "")
    raise PokeflowError(f"{host}: {sentence or f'{default}.'}" + (f" ({last})" if last else ""))
