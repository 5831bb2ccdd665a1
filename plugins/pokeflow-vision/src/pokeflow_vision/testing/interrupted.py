"""Program that runs one task as ``pokeflow.engine.worker`` does, and kills itself while the backend writes."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pokeflow.engine import worker

WRITING = os.O_WRONLY | os.O_RDWR


def main(file: Path, parent: int, writes: int) -> int:
    """Run the task in ``file``; SIGKILL this process when the backend opens output file number ``writes``."""
    output = os.path.join(json.loads(file.read_bytes())["output"], "")  # noqa: PTH118 - compared as text
    count = 0

    def opening(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event != "open" or not isinstance(args[0], str | bytes):
            return
        path, mode, flags = os.fsdecode(args[0]), args[1], args[2]
        if path.startswith(output) and (set(mode or "") & set("wax+") or (flags or 0) & WRITING):
            count += 1
            if count == writes:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(opening)
    return worker.main(file, parent)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
