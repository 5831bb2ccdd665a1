"""The training loop: AdamW with a cosine schedule, averaged weights, and a bit-exact resume.

No random state is carried from step to step: the order of an epoch follows from (seed, epoch), the draws of a step
from (seed, step, process). A run that was killed and resumed from a checkpoint therefore repeats exactly the steps of
an uninterrupted run. A step uses the same cards for any number of processes; the processes share them out.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate import Accelerator

from pokeflow import progress
from pokeflow.types import Task
from pokeflow_torch import checkpoint, distributed, telemetry
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Loop, Optim
from pokeflow_torch.step import Cards, Learner, Stepper, StepSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FitResult:
    """The averaged network in evaluation mode, its history, and whether this process writes the result.

    Only the first process writes. Its network alone is the result; the networks of the others are not averaged.
    """

    network: Embedder
    history: list[dict[str, float]]
    writes: bool


def fit(
    accelerator: Accelerator,
    task: Task,
    learner: Learner,
    cards: Cards,
    optim: Optim,
    loop: Loop,
    strength: float,
    validate: Callable[[Embedder], dict[str, float]],
) -> FitResult:
    """Train ``learner`` on views of ``cards``, and resume from a checkpoint in ``task.work`` if there is one.

    Checkpoints and telemetry are written to ``task.work``. With several processes, the first one reads, validates and
    writes while the others wait; a signal to any of them stops all after the same step.

    Args:
        accelerator: Device, precision and processes.
        task: The running task.
        learner: The network to train, with its loss.
        cards: The training cards.
        optim: Parameters of the optimizer.
        loop: Parameters of the loop; ``keep_checkpoint`` writes the last state to ``task.output``.
        strength: Strength of the augmentation.
        validate: Returns metrics of the averaged network for the history. It is called after every
            ``loop.validate_every`` epochs except at the end; the caller adds the final metrics.

    Returns:
        The averaged network and its history.

    Raises:
        PokeflowError: If the loss is not finite, or a batch is too small for the number of processes.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint is written.
        SystemExit: After SIGTERM, once a checkpoint is written.

    """
    batch, per_epoch = batches(loop, len(cards.images))
    total, first = per_epoch * loop.epochs, accelerator.is_main_process
    stepper = Stepper(accelerator, task.name, learner, StepSettings(cards, optim, strength, loop.seed, total))
    resume_state = checkpoint.latest(task.work, task.digest) if first else None
    stepper.begin(resume_state)
    initial: dict[str, Any] = {"step": 0, "sums": {}, "history": []}
    position = distributed.run_on_main(accelerator, lambda: {name: (resume_state or initial)[name] for name in initial})
    step, sums, history = position["step"], position["sums"], position["history"]
    if step and first:
        log.info("%s: resumed at step %d of %d", task.name, step, total)

    def state() -> dict[str, Any]:
        return {**stepper.state(), "step": step, "sums": sums, "history": history}

    saved_at = time.monotonic()
    with (
        checkpoint.stop_requests(repeated=accelerator.num_processes > 1) as stop_request,
        progress.bar(task.name, total) if first else nullcontext(_ignore_progress) as advance,
        telemetry.open_telemetry(task.work, step, accelerator.device, active=first) as metrics,
    ):
        advance(step)
        order = epoch_order(loop, len(cards.images), step // per_epoch)
        while step < total:
            epoch, index = divmod(step, per_epoch)
            if index == 0:
                order, sums = epoch_order(loop, len(cards.images), epoch), {}
            result = stepper.train_step(step, order[index * batch : (index + 1) * batch], lambda: stop_request.signal)
            step += 1
            for name, value in result.values.items():
                sums[name] = sums.get(name, 0.0) + value
            metrics.step(step, epoch + 1, {"lr": result.lr, **result.values})
            advance(1, text=f"loss {sums['loss'] / (index + 1):.3f}")
            if index + 1 == per_epoch:
                row = {"epoch": epoch + 1, "step": step, **{f"train_{n}": v / per_epoch for n, v in sums.items()}}
                if loop.validate_every and (epoch + 1) % loop.validate_every == 0 and step < total:
                    row |= distributed.run_on_main(accelerator, lambda: validate(stepper.shadow))
                history.append(row)
                metrics.epoch(row)
            # A single process also stops for a signal after the loss; several can agree on it only in the next step.
            if (number := result.signal if accelerator.num_processes > 1 else stop_request.signal) is not None:
                if first:
                    checkpoint.write(task.work, task.digest, step, state())
                    log.info("%s: stopped after writing a checkpoint of step %d", task.name, step)
                # A process that exits earlier would make the launcher end the others before the state is saved.
                accelerator.wait_for_everyone()
                stop_request.leave(number)
            elif first and time.monotonic() - saved_at >= loop.checkpoint_seconds and step < total:
                checkpoint.write(task.work, task.digest, step, state())
                saved_at = time.monotonic()
    accelerator.wait_for_everyone()
    if first and loop.keep_checkpoint:
        checkpoint.keep(task.output, state())
    return FitResult(stepper.shadow, history, first)


def batches(loop: Loop, cards: int) -> tuple[int, int]:
    """Return the views per step, over all processes together, and the steps per epoch."""
    views = cards * loop.views
    batch = min(loop.batch_size, views)
    return batch, views // batch


def epoch_order(loop: Loop, cards: int, epoch: int) -> np.ndarray:
    """Return the labels of an epoch [cards · views] in order: ``views`` random permutations of all cards."""
    random = np.random.Generator(np.random.Philox(key=[loop.seed, epoch]))
    return np.concatenate([random.permutation(cards) for _ in range(loop.views)])


def write_history(task: Task, history: Sequence[dict[str, Any]]) -> None:
    """Write ``history.jsonl`` to the task's output, one line per epoch."""
    text = "".join(json.dumps(row) + "\n" for row in history)
    (task.output / "history.jsonl").write_text(text, encoding="utf-8")


def _ignore_progress(_n: float = 1, text: str = "") -> None:
    """Ignore progress; the first process alone shows it."""
