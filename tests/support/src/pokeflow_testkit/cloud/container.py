"""Containers like SageMaker's, without docker: a command in its own namespaces, with its own /opt/ml."""

import functools
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The kernel kills the container when the server's thread ends, and all processes with the first one.
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", "-rmpf", "--kill-child", "--mount-proc")
ENTER = """set -e
machine=$1; shift
mkdir "$machine/opt"; mount --rbind /opt "$machine/opt"; mount -t tmpfs tmpfs /opt
for old in "$machine/opt"/*; do
    [ -e "$old" ] || continue
    new=/opt/${old##*/}
    [ "$new" = /opt/ml ] && continue
    if [ -d "$old" ]; then mkdir "$new"; else touch "$new"; fi
    mount --rbind "$old" "$new"
done
mkdir /opt/ml; mount --bind "$machine/ml" /opt/ml
mount --bind "$machine/hosts" /etc/hosts
cd /
command -v "$1" >/dev/null || { echo "exec: $1: executable file not found in \\$PATH"; exit 127; }
exec "$@"
"""
"""Mounts the machine's folder at /opt/ml, keeps the rest of /opt, sets /etc/hosts, and executes the command."""


@functools.cache
def why_not() -> str:
    """Return why no container can run on this machine, or an empty text if one can."""
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"containers need {program} (util-linux), which is not installed"
    tried = subprocess.run(
        [*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /opt"], capture_output=True, text=True, check=False
    )
    return f"containers need user namespaces: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(slots=True)
class Container:
    """A running command; the folder ``machine`` holds its /opt/ml as ``ml``."""

    machine: Path
    process: Any = None
    reader: Any = None
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def ml(self) -> Path:
        """The folder that it sees as /opt/ml."""
        return self.machine / "ml"

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return None if self.process is None else self.process.poll()

    def start(
        self, command: Sequence[str], env: Mapping[str, str], hosts: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Run the command; ``say`` is called with every line of its output."""
        names = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        (self.machine / "hosts").write_text(names + "".join(f"\n127.0.0.1 {host}" for host in hosts) + "\n")
        home = self.machine / "home"
        home.mkdir()
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        whole = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", **env}
        arguments = [*UNSHARE, "bash", "-c", ENTER, "container", str(self.machine), *command]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(arguments, env=whole, **pipes)
        self.reader = threading.Thread(target=self._read, args=[say], daemon=True)
        self.reader.start()

    def _read(self, say: Callable[[str], None]) -> None:
        for line in self.process.stdout:
            say(line.decode(errors="replace").rstrip("\r\n"))

    def first(self) -> int | None:
        """Return the id, on this machine, of the process that is number 1 in the container."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def terminate(self) -> None:
        """Send SIGTERM to the command, as docker does; process 1 ignores it without a handler."""
        import os

        pid = self.first()
        if pid is not None:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return

    def kill(self) -> None:
        """Send SIGKILL to all processes of the container."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()

    def wait(self, seconds: float) -> bool:
        """Wait for the end and the whole output; return whether it ended in time."""
        end = time.monotonic() + seconds
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self.reader.join(max(0.1, end - time.monotonic()))
        return True
