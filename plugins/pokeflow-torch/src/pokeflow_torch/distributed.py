"""Communication of the processes that train one model: initial state, results of a step, and signals to stop.

Each process has its own device. Only the first one reads and writes checkpoints and reports metrics, because the
others may run on machines without its files. With a single process none of these functions communicates.
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

TIMEOUT = timedelta(hours=2)
"""Timeout of the others while the first process validates and exports; their launcher ends them sooner on failure."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def create_accelerator(precision: str) -> Accelerator:
    """Create the accelerator for this precision; accelerate's global state is reset first.

    The reset lets one process train several networks in turn, each at its own precision.

    Raises:
        PokeflowError: If the precision is not available on this accelerator.

    """
    AcceleratorState._reset_state()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Batch norms use each process's own part of a batch, and only the first process's statistics are shipped, so
    # buffers are not broadcast. A static graph allows unused weights: some choices of terms do not use all of them.
    handlers = [
        DistributedDataParallelKwargs(broadcast_buffers=False, static_graph=True),
        InitProcessGroupKwargs(timeout=TIMEOUT),
    ]
    try:
        return Accelerator(
            mixed_precision=precision,
            # Without a GPU, accelerate treats each of several processes as a single one unless cpu is set.
            cpu=several and not torch.cuda.is_available(),
            kwargs_handlers=handlers if several else None,
        )
    except ValueError as error:
        raise PokeflowError(
            f"loop.precision: {precision} is not available on this machine ({error}). Set 'no' or 'bf16'."
        ) from error


def run_on_main(accelerator: Accelerator, compute: Callable[[], Any]) -> Any:
    """Call ``compute`` in the first process only, and return its result in every process.

    Args:
        accelerator: Accelerate's handle of all processes.
        compute: Returns a value that JSON can represent.

    Raises:
        PokeflowError: In the other processes if ``compute`` fails in the first one, so that none waits for ever. The
            first process raises the original error.

    """
    if accelerator.num_processes == 1:
        return compute()
    if not accelerator.is_main_process:
        response = json.loads(_broadcast(accelerator, b""))
        if "failed" in response:
            raise PokeflowError(f"the first process failed: {response['failed']}")
        return response["result"]
    try:
        result = compute()
        data = json.dumps({"result": result}).encode()
    except BaseException as error:
        _broadcast(accelerator, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    _broadcast(accelerator, data)
    return result


def _broadcast(accelerator: Accelerator, data: bytes) -> bytes:
    """Broadcast the bytes of the first process to all processes.

    There is no pickle involved, because data from a network must not be able to run code.
    """
    size = torch.tensor([len(data)], device=accelerator.device)
    torch.distributed.broadcast(size, 0)
    buffer = torch.zeros(int(size), dtype=torch.uint8, device=accelerator.device)
    if accelerator.is_main_process:
        buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    torch.distributed.broadcast(buffer, 0)
    return bytes(buffer.cpu().numpy())


def share_moments(accelerator: Accelerator, optimizer: torch.optim.Optimizer) -> None:
    """Copy AdamW's state from the first process to all; ``Accelerator.prepare`` already shares the weights."""
    if accelerator.num_processes == 1:
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = optimizer.state
    for index in run_on_main(accelerator, lambda: [i for i, weight in enumerate(weights) if weight in state]):
        weight = weights[index]
        if not accelerator.is_main_process:
            moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            state[weight] = {"step": torch.zeros(()), **moments}
        for name in ("step", "exp_avg", "exp_avg_sq"):
            # Memory layouts may differ between processes; the broadcast copy is contiguous.
            buffer = state[weight][name].to(accelerator.device, memory_format=torch.contiguous_format, copy=True)
            torch.distributed.broadcast(buffer, 0)
            state[weight][name].copy_(buffer)


def batch_share(accelerator: Accelerator, batch: int) -> float:
    """Return this process's share of a batch, between 0 and 1.

    Raises:
        PokeflowError: If there are fewer than two views per process.

    """
    processes = accelerator.num_processes
    if batch < 2 * processes:
        raise PokeflowError(
            f"loop.batch_size: {batch} views per step for {processes} processes; batch normalization needs at least "
            f"two per process. Set {2 * processes} or more, or use fewer devices."
        )
    return len(range(accelerator.process_index, batch, processes)) / batch


@dataclass(frozen=True, slots=True)
class StepSummary:
    """Means of a step over the whole batch, and a signal to stop that any process has received, or None."""

    values: dict[str, float]
    signal: int | None


def reduce_step(
    accelerator: Accelerator, values: Mapping[str, float], share: float, stop_signal: int | None
) -> StepSummary:
    """Average values over all processes, weighted by their shares, and exchange signals to stop.

    A value that is not finite in one process is not finite in the result of all.

    Args:
        accelerator: Accelerate's handle of all processes.
        values: Means over this process's part of the batch; the same names in every process.
        share: This process's share of the batch.
        stop_signal: Signal that this process has received, or None.

    """
    if accelerator.num_processes == 1:
        return StepSummary(dict(values), stop_signal)
    flags = [float(stop_signal == number) for number in SIGNALS]
    sums = torch.tensor([*(value * share for value in values.values()), *flags], dtype=torch.float64)
    sums = sums.to(accelerator.device)
    torch.distributed.all_reduce(sums)
    *means, sigterms, sigints = sums.tolist()
    common_signal = next((number for number, count in zip(SIGNALS, (sigterms, sigints), strict=True) if count), None)
    return StepSummary(dict(zip(values, means, strict=True)), common_signal)
