"""The training loop: AdamW under a cosine, averaged weights, and a resume that is exact to the bit.

Nothing random outlives a step: the order of an epoch follows from (seed, epoch), the draws of a step from
(seed, step, process). A run that was killed and goes on from a checkpoint therefore repeats the very steps that an
unbroken run would have made.
"""

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow.types import Task
from pokeflow_torch import augment, checkpoint, telemetry
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Loop, Optim

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cards:
    """The cards a network learns from: one uint8 image each [N, S, S, 3], and the input's mean and std."""

    images: np.ndarray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Learner(nn.Module):
    """What is trained: ``network``, which is shipped, and whatever else the loss needs, which is not.

    ``forward`` takes normalised views [B, 3, S, S] and their labels (positions in ``Cards.images``) and returns the
    terms of the loss; "loss" among them is what is minimised.
    """

    network: Embedder


@dataclass(frozen=True, slots=True)
class Fitted:
    """The averaged network in evaluation mode, its history, and whether this process writes the result."""

    network: Embedder
    history: list[dict[str, float]]
    writes: bool


def accelerator(precision: str) -> Accelerator:
    """Devices, precision and processes. One process may fit several networks, each at its own precision."""
    AcceleratorState._reset_state()
    try:
        return Accelerator(mixed_precision=precision)
    except ValueError as error:
        raise PokeflowError(f"loop.precision: {precision} can't be had here ({error}). Take 'no' or 'bf16'.") from error


def fit(  # noqa: PLR0915  # the loop reads best in one piece
    machine: Accelerator,
    task: Task,
    learner: Learner,
    cards: Cards,
    optim: Optim,
    loop: Loop,
    strength: float,
    validate: Callable[[Embedder], dict[str, float]],
) -> Fitted:
    """Train ``learner`` on views of ``cards``; checkpoints go to ``task.work`` and are gone on from.

    So does telemetry. The last state stays in ``task.output`` unless ``loop`` says otherwise. ``validate`` gives
    figures for the history between the epochs; those of the end are the caller's to add.
    """
    device, rank, processes = machine.device, machine.process_index, machine.num_processes
    convolutional = learner.network.convolutional
    layout = torch.channels_last if convolutional else torch.contiguous_format
    learner = learner.to(device).to(memory_format=layout)
    shadow = copy.deepcopy(learner.network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(learner, optim.weight_decay), lr=optim.lr)
    model, optimizer = machine.prepare(learner, optimizer)

    seen = len(cards.images) * loop.views
    batch = min(loop.batch_size, seen)
    per_epoch = seen // batch
    total = per_epoch * loop.epochs
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (cards.mean, cards.std))

    step, sums, history = 0, dict[str, float](), list[dict[str, float]]()
    if (saved := checkpoint.latest(task.work, task.digest)) is not None:
        learner.load_state_dict(saved["learner"])
        shadow.load_state_dict(saved["shadow"])
        optimizer.load_state_dict(saved["optimizer"])
        if machine.scaler is not None:
            machine.scaler.load_state_dict(saved["scaler"])
        step, sums, history = saved["step"], saved["sums"], saved["history"]
        log.info("%s: resumed at step %d of %d", task.name, step, total)

    def state() -> dict[str, Any]:
        return {
            "learner": learner.state_dict(),
            "shadow": shadow.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": machine.scaler.state_dict() if machine.scaler is not None else {},
            "step": step,
            "sums": sums,
            "history": history,
        }

    def save() -> None:
        if machine.is_main_process:
            checkpoint.write(task.work, task.digest, step, state())

    saved_at = time.monotonic()
    with (
        checkpoint.stop_requests() as stopped,
        progress.bar(task.name, total) as advance,
        telemetry.opened(task.work, step, device, active=machine.is_main_process) as tell,
    ):
        advance(step)
        order = _order(loop, len(cards.images), step // per_epoch)
        while step < total:
            epoch, place = divmod(step, per_epoch)
            if place == 0:
                order, sums = _order(loop, len(cards.images), epoch), {}
            learner.train()
            generator = _reseed(loop.seed, step, rank)
            labels = order[place * batch : (place + 1) * batch][rank::processes]
            images = _pixels(cards, labels, device)
            images = ((augment.views(images, generator, strength) - mean) / std).contiguous(memory_format=layout)
            with machine.autocast():
                terms: dict[str, Tensor] = model(images, torch.from_numpy(labels).to(device))
            loss = terms["loss"]
            if not torch.isfinite(loss):
                raise PokeflowError(
                    f"{task.name}: the loss is {loss.item()} at step {step} of {total}. Lower optim.lr "
                    f"({optim.lr}), lengthen optim.warmup ({optim.warmup}) or take loop.precision 'no', then run again."
                )
            machine.backward(loss)
            machine.clip_grad_norm_(learner.parameters(), optim.clip)
            lr = optim.lr * rate(step, total, optim.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad()
            _average(shadow, learner.network, optim.ema, step)
            step += 1
            values = {name: float(value.detach()) for name, value in terms.items()}
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            tell.step(step, epoch + 1, {"lr": lr, **values})
            advance(1, text=f"loss {sums['loss'] / (place + 1):.3f}")
            if place + 1 == per_epoch:
                row = {"epoch": epoch + 1, "step": step, **{f"train_{n}": v / per_epoch for n, v in sums.items()}}
                if loop.validate_every and (epoch + 1) % loop.validate_every == 0 and step < total:
                    row |= validate(shadow)
                history.append(row)
                tell.epoch(row)
            if stopped():
                save()
                log.info("%s: stopped; a checkpoint of step %d is kept", task.name, step)
                stopped.leave()
            elif time.monotonic() - saved_at >= loop.checkpoint_seconds and step < total:
                save()
                saved_at = time.monotonic()
    machine.wait_for_everyone()
    if machine.is_main_process and loop.keep_checkpoint:
        checkpoint.keep(task.output, state())
    return Fitted(shadow, history, machine.is_main_process)


def rate(step: int, total: int, warmup: float) -> float:
    """The share of the peak learning rate at a step: up a line, down a half cosine (Loshchilov, Hutter 2017)."""
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def write_history(task: Task, history: Sequence[dict[str, Any]]) -> None:
    """``history.jsonl``: one line an epoch."""
    text = "".join(json.dumps(row) + "\n" for row in history)
    (task.output / "history.jsonl").write_text(text, encoding="utf-8")


def _groups(learner: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and other vectors do not."""
    weights = [p for p in learner.parameters() if p.requires_grad]
    return [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _order(loop: Loop, cards: int, epoch: int) -> np.ndarray:
    """Labels in the order of an epoch: every card once, shuffled, then again for each further view."""
    random = np.random.Generator(np.random.Philox(key=[loop.seed, epoch]))
    return np.concatenate([random.permutation(cards) for _ in range(loop.views)])


def _reseed(seed: int, step: int, rank: int) -> torch.Generator:
    """The generator of a step's views; torch's own (drop path, dropout) begins at the step's seed, too."""
    words = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))
    return torch.Generator().manual_seed(int(words[0]))


def _pixels(cards: Cards, labels: np.ndarray, device: torch.device) -> Tensor:
    images = torch.from_numpy(cards.images[labels]).to(device)
    return images.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def _average(shadow: nn.Module, network: nn.Module, decay: float | None, step: int) -> None:
    """Exponential moving average, short at first so that the beginning is forgotten; no decay: a copy."""
    share = 1.0 if decay is None else 1 - min(decay, (1 + step) / (10 + step))
    for old, new in zip(shadow.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)
        else:
            old.copy_(new)
