"""Kill updates, each in a separate process, before the n-th change of the disk, for every n.

``python killed.py ROOT MAKER SICK [twice]`` copies the installation, updates the copy in a child that is killed (twice:
and in a second one), updates again, and prints a line of JSON for each n: the current release after the kill, and at
the end.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import run
from pokeflow_edge.runtime.update.root import Root
from pokeflow_edge.runtime.update.sources import Folder

CHANGES = {
    "os.rename", "os.mkdir", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.truncate", "fcntl.flock",
    "shutil.rmtree", "shutil.copyfile", "subprocess.Popen",
}  # fmt: skip


class Service:
    """A double of the service, healthy unless the sick release is current."""

    restart = stop = "unused"

    def __init__(self, root: Root, sick: int) -> None:
        self.root, self.sick = root, sick

    def restart_and_wait(self, about: object) -> str:
        sys.audit("shutil.rmtree", "a restart", None)  # counts as a change, to be killed here too
        return "it coughs" if self.root.current == self.sick else ""

    def stop_and_wait(self) -> str:
        return ""


def update(root: Root, maker: Path, sick: int) -> str:
    keys = root.folder / "release.pub"
    return run.update(root, Folder(str(maker)), keys, Service(root, sick), tried=lambda folder: "")  # type: ignore[arg-type]


def fork_update(root: Root, maker: Path, sick: int, moment: int) -> int:
    """Start an update that is killed before its ``moment``-th change, and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    count = 0

    def watch(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in CHANGES or writes:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        update(root, maker, sick)
    except PokeflowError:
        os._exit(1)
    os._exit(0)


def require_whole(root: Root) -> int | None:
    """Check every file of the current release against its bundle.json, and return its sequence."""
    current = root.current
    if current is None:
        return None
    for name, entry in root.about(current)["files"].items():
        data = (root.folder / "current" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name
    return current


def is_killed(root: Root, maker: Path, sick: int, moment: int) -> bool:
    return os.WIFSIGNALED(os.waitpid(fork_update(root, maker, sick, moment), 0)[1])


def finish(root: Root, maker: Path, sick: int) -> str:
    try:
        update(root, maker, sick)
    except PokeflowError as error:
        return str(error)
    return "done"


def run_case(folder: Path, maker: Path, sick: int, *moments: int) -> bool:
    """Kill updates of a copy at these moments, print the result, and return whether the first was killed."""
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True)
    root, result = Root(copy), {"moments": moments}
    killed = [is_killed(root, maker, sick, moment) for moment in moments]
    result |= {"killed": killed[0], "then": require_whole(root), "trial": root.state().trial}
    result |= {"ends": [finish(root, maker, sick) for _ in range(2)], "now": require_whole(root)}
    result["left"] = sorted(path.name for path in copy.iterdir() if path.name not in ("update.lock", "release.pub"))
    result["releases"] = sorted(path.name for path in (copy / "releases").iterdir())
    print(json.dumps(result), flush=True)
    return killed[0]


def no_sync(*_: object) -> None:
    """Skip flushing: a killed process loses nothing that it wrote."""


def main(folder: Path, maker: Path, sick: int, seconds: tuple[int, ...]) -> None:
    for first in range(1, 1000):
        if not seconds and not run_case(folder, maker, sick, first):
            return
        if seconds and not all(run_case(folder, maker, sick, first, second) for second in seconds):
            return


if __name__ == "__main__":
    os.sync = os.fsync = no_sync
    again = tuple(range(1, 45, 4)) if "twice" in sys.argv else ()
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), again)
