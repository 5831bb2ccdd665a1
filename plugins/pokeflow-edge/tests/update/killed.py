"""Runs updates that are killed, each in a process of its own: before its n-th change of the disk, for every n.

``python killed.py ROOT MAKER SICK [twice]`` copies the installation, has a child update the copy and die (twice: and
another one after it), looks at what is left, updates again, and prints a line of JSON for each n: what was current
then, and at the end.
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
    """Answers but where the sick release is current."""

    restart = stop = "as told"

    def __init__(self, root: Root, sick: int) -> None:
        self.root, self.sick = root, sick

    def restart_and_wait(self, about: object) -> str:
        sys.audit("shutil.rmtree", "a restart", None)  # a moment to die in as well
        return "it coughs" if self.root.current == self.sick else ""

    def stop_and_wait(self) -> str:
        return ""


def update(root: Root, maker: Path, sick: int) -> str:
    keys = root.folder / "release.pub"
    return run.update(root, Folder(str(maker)), keys, Service(root, sick), tried=lambda folder: "")  # type: ignore[arg-type]


def child(root: Root, maker: Path, sick: int, moment: int) -> int:
    """The process id of an update that dies before its ``moment``-th change."""
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


def whole(root: Root) -> int | None:
    """What is current; an error where a file of it is not as its bundle.json says."""
    current = root.current
    if current is None:
        return None
    for name, said in root.about(current)["files"].items():
        data = (root.folder / "current" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == said["sha256"], name
    return current


def died(root: Root, maker: Path, sick: int, moment: int) -> bool:
    return os.WIFSIGNALED(os.waitpid(child(root, maker, sick, moment), 0)[1])


def ended(root: Root, maker: Path, sick: int) -> str:
    try:
        update(root, maker, sick)
    except PokeflowError as error:
        return str(error)
    return "done"


def one(folder: Path, maker: Path, sick: int, *moments: int) -> bool:
    """Kill updates of a copy at these moments and tell what came of it; whether the first did die."""
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True)
    root, told = Root(copy), {"moments": moments}
    killed = [died(root, maker, sick, moment) for moment in moments]
    told |= {"killed": killed[0], "then": whole(root), "trial": root.state().trial}
    told |= {"ends": [ended(root, maker, sick) for _ in range(2)], "now": whole(root)}
    told["left"] = sorted(path.name for path in copy.iterdir() if path.name not in ("update.lock", "release.pub"))
    told["releases"] = sorted(path.name for path in (copy / "releases").iterdir())
    print(json.dumps(told), flush=True)
    return killed[0]


def unsettled(*_: object) -> None:
    """A process that is killed loses nothing that it wrote: the disk's own pace is no part of this."""


def main(folder: Path, maker: Path, sick: int, seconds: tuple[int, ...]) -> None:
    for first in range(1, 1000):
        if not seconds and not one(folder, maker, sick, first):
            return
        if seconds and not all(one(folder, maker, sick, first, second) for second in seconds):
            return


if __name__ == "__main__":
    os.sync = os.fsync = unsettled
    again = tuple(range(1, 45, 4)) if "twice" in sys.argv else ()
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), again)
