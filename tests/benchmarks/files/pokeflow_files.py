"""A plugin whose models are files of random bytes, the same in every run."""

import logging
import random
from dataclasses import dataclass

from pokeflow import Backend, Result, Task, hookimpl

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """The number of files, and the range of their sizes in bytes. Random bytes cannot be compressed."""

    count: int
    least: int
    most: int


def run(task: Task) -> Result:
    """Write the files, a hundred to a folder."""
    params, dice = task.params, random.Random(0)
    # An empty log.txt would hang aws s3 sync: it waits for a 100 Continue, which rclone sends only for a body.
    log.info("writes %d files", params.count)
    for number in range(params.count):
        path = task.output / f"{number // 100:03}" / f"{number:06}.bin"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            left = dice.randint(params.least, params.most)
            while left:
                piece = min(left, 1 << 20)
                file.write(dice.randbytes(piece))
                left -= piece
    return Result({"files": float(params.count)})


@hookimpl
def pokeflow_backends() -> list[Backend]:
    """Return one backend, for the stage ``train``."""
    return [Backend("files", "train", run, Files)]
