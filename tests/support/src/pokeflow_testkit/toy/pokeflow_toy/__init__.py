"""A third party's plugin: every stage, and one of its own, with faults on demand."""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from pokeflow import Backend, Command, PokeflowError, Result, Task, UnavailableError, hookimpl

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Toy:
    """``fail`` raises; ``absent`` lacks a compiler; ``simulated`` marks the result; ``seconds`` sleeps.

    ``note`` names a file that gets a line for each task that runs.
    """

    lr: float = 0.1
    fail: bool = False
    absent: bool = False
    simulated: bool = False
    seconds: float = 0.0
    note: str | None = field(default=None, metadata={"digest": False})
    metric: str = "score"
    value: float | None = None
    reason: str | None = None


def run(task: Task) -> Result:
    params = task.params
    if params.note:
        with Path(params.note).open("a") as file:
            file.write(f"{task.name} {os.getpid()}\n")
    # Each tenth of a second is a step; a checkpoint after each, so that a kill costs one step.
    state = task.work / "steps.txt"
    begin = int(state.read_text()) if state.exists() else 0
    log.info("begins at step %d", begin)
    for step in range(begin, round(params.seconds * 10)):
        time.sleep(0.1)
        state.write_text(str(step + 1))
    if params.fail:
        raise PokeflowError("it was told to fail.")
    if params.absent:
        (task.output / "calibration.txt").write_text("ready\n")
        raise UnavailableError("no compiler here. Install the toy compiler 2.0.")
    (task.output / "model.txt").write_text(f"{task.stage} {params.lr} {[i.record.digest for i in task.inputs]}\n")
    value = params.lr if params.value is None and params.reason is None else params.value
    facts = {"simulated": True} if params.simulated else {}
    return Result({params.metric: value}, facts, {params.metric: params.reason} if params.reason else {})


def finds_negative(params: Toy) -> list[tuple[str, str]]:
    return [("lr", "is negative.")] if params.lr < 0 else []


def track(task: Task) -> dict[str, float]:
    if task.params.fail:
        raise ConnectionError("the tracking server is away")
    with Path(task.params.note).open("a") as file:
        file.write(f"{task.input().record.task}\n")
    return {}


@hookimpl
def pokeflow_backends() -> list[Backend]:
    stages = ("prepare", "train", "distill", "prune", "compile", "benchmark")
    plain = [Backend("toy", stage, run, Toy, check=finds_negative) for stage in stages]
    return [
        *plain,
        Backend("toy", "register", run, Toy, identity_in_digest=True),
        Backend("toy", "track", track, Toy),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_toy.conf"


@hookimpl
def pokeflow_commands() -> list[Command]:
    """``pokeflow toy``."""
    return [Command("toy", "what it is given", "pokeflow_toy.command:run", "pokeflow_toy.command:add_arguments")]
