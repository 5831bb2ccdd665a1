"""What the processes that train one model together agree on: where they begin, what a step came to, when to stop.

Each has a device of its own. The first one alone reads and writes checkpoints and tells figures: the others may be on
machines that have none of its files. A process alone passes through all of this unchanged.
"""

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from pokeflow.errors import PokeflowError

PATIENCE = timedelta(hours=2)
"""How long the others wait for the first, which validates and exports meanwhile; who started them ends them sooner."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def accelerator(precision: str) -> Accelerator:
    """Devices, precision and processes. One process may fit several networks, each at its own precision."""
    AcceleratorState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Each process normalises over its own part of a batch, and only the first's averages are shipped. A static graph
    # may leave weights out: not every choice of terms reaches all of a network.
    handlers = [
        DistributedDataParallelKwargs(broadcast_buffers=False, static_graph=True),
        InitProcessGroupKwargs(timeout=PATIENCE),
    ]
    try:
        return Accelerator(
            mixed_precision=precision,
            # Without a GPU it would take each of several processes for one alone, unless it is told.
            cpu=several and not torch.cuda.is_available(),
            kwargs_handlers=handlers if several else None,
        )
    except ValueError as error:
        raise PokeflowError(f"loop.precision: {precision} can't be had here ({error}). Take 'no' or 'bf16'.") from error


def same(machine: Accelerator, make: Callable[[], Any]) -> Any:
    """What the first process makes, plain data, in every process; where it fails, all do, and none waits for ever."""
    if machine.num_processes == 1:
        return make()
    if not machine.is_main_process:
        answer = json.loads(_spread(machine, b""))
        if "failed" in answer:
            raise PokeflowError(f"the first process failed: {answer['failed']}")
        return answer["made"]
    try:
        made = make()
        data = json.dumps({"made": made}).encode()
    except BaseException as error:
        _spread(machine, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    _spread(machine, data)
    return made


def _spread(machine: Accelerator, data: bytes) -> bytes:
    """The first process's bytes, everywhere. No pickle: what comes over a network must not be able to run code."""
    size = torch.tensor([len(data)], device=machine.device)
    torch.distributed.broadcast(size, 0)
    held = torch.zeros(int(size), dtype=torch.uint8, device=machine.device)
    if machine.is_main_process:
        held.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    torch.distributed.broadcast(held, 0)
    return bytes(held.cpu().numpy())


def share_moments(machine: Accelerator, optimizer: torch.optim.Optimizer) -> None:
    """Give every process the first one's state of AdamW; the weights themselves are shared when it is prepared."""
    if machine.num_processes == 1:
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = optimizer.state
    for place in same(machine, lambda: [i for i, weight in enumerate(weights) if weight in state]):
        weight = weights[place]
        if not machine.is_main_process:
            moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            state[weight] = {"step": torch.zeros(()), **moments}
        for name in ("step", "exp_avg", "exp_avg_sq"):
            # Their memory may be laid out in different ways; what travels is contiguous.
            travelling = state[weight][name].to(machine.device, memory_format=torch.contiguous_format, copy=True)
            torch.distributed.broadcast(travelling, 0)
            state[weight][name].copy_(travelling)


def part(machine: Accelerator, batch: int) -> float:
    """The share of a batch that this process is dealt; PokeflowError where someone would get too little."""
    processes = machine.num_processes
    if batch < 2 * processes:
        raise PokeflowError(
            f"loop.batch_size: {batch} views a step for {processes} processes; each needs two at least, for batch "
            f"normalisation. Give {2 * processes} or more, or take fewer devices."
        )
    return len(range(machine.process_index, batch, processes)) / batch


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a step came to over the whole batch, and the signal that asks any of the processes to stop."""

    values: dict[str, float]
    signal: int | None


def agree(machine: Accelerator, values: Mapping[str, float], share: float, asked: int | None) -> Agreed:
    """Means over the whole batch from each process's own ``values``; one that is not finite is seen by all."""
    if machine.num_processes == 1:
        return Agreed(dict(values), asked)
    flags = [float(asked == number) for number in SIGNALS]
    sums = torch.tensor([*(value * share for value in values.values()), *flags], dtype=torch.float64)
    sums = sums.to(machine.device)
    torch.distributed.all_reduce(sums)
    *means, terms, interrupts = sums.tolist()
    wanted = next((number for number, count in zip(SIGNALS, (terms, interrupts), strict=True) if count), None)
    return Agreed(dict(zip(values, means, strict=True)), wanted)
