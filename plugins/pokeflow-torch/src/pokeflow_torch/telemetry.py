"""What a training tells while it runs: a line a step, TensorBoard's events and the machine's figures, in files.

telemetry/steps.jsonl    a line a step; after a resume a step may stand there twice, and its last line counts
telemetry/system.jsonl   the machine's figures every few seconds, under MLflow's names
telemetry/tensorboard/   an event file each attempt; the later ones take the place of what they repeat

None of it is content, for the same training has other times. Nor can it fail a training: what cannot be written is
left out, and that is told once.
"""

import errno
import json
import logging
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from pokeflow.types import TELEMETRY

log = logging.getLogger(__name__)
SYSTEM_EVERY = 5.0
"""Seconds between two samples of the machine's figures."""
SHORTEST = 0.1
"""Seconds that a processor's share of work is measured over at least."""


class Telemetry:
    """The open files of a training that tells."""

    def __init__(self, folder: Path, begin: int) -> None:
        self._steps = _Lines(folder / "steps.jsonl")
        self._events = _events(folder)
        # TensorBoard then forgets what an earlier attempt, which was killed, told of these steps.
        self._events.write(_event(begin + 1, starts=True))

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Tell of the step that was just made, the first being 1: its learning rate and the terms of its loss."""
        self._steps.write(_line({"step": step, "epoch": epoch, "time": _milliseconds(), **values}))
        self._events.write(_event(step, {f"train/{name}": value for name, value in values.items()}))

    def epoch(self, row: Mapping[str, float]) -> None:
        """Tell of a row of the history: what was measured on the val queries, if anything was."""
        _tell_validation(self._events, row)

    def close(self) -> None:
        """Close the files."""
        self._steps.close()
        self._events.close()


class _Silence(Telemetry):
    """The telemetry of a process that is not the first: each of its steps is the first one's, too."""

    def __init__(self) -> None: ...

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


@contextmanager
def opened(work: Path, begin: int, device: torch.device, *, active: bool) -> Iterator[Telemetry]:
    """Within: a training that has made ``begin`` steps tells of the further ones, and of the machine."""
    if not active:
        yield _Silence()
        return
    telemetry, over = Telemetry(work / TELEMETRY, begin), threading.Event()
    thread = threading.Thread(target=_watch, args=(work / TELEMETRY, device, over), name="telemetry", daemon=True)
    thread.start()
    try:
        yield telemetry
    finally:
        over.set()
        thread.join(SYSTEM_EVERY)
        telemetry.close()


def tell_end(work: Path, row: Mapping[str, float]) -> None:
    """Tell TensorBoard of the history's last row, whose figures are known once the training has ended."""
    events = _events(work / TELEMETRY)
    _tell_validation(events, row)
    events.close()


def _tell_validation(events: "_Appended", row: Mapping[str, float]) -> None:
    found = {name: value for name, value in row.items() if name not in ("step", "epoch") and name[:6] != "train_"}
    if found:
        events.write(_event(int(row["step"]), {f"validation/{name}": value for name, value in found.items()}))


class _Appended:
    """A file that grows by whole pieces: one that finds no room leaves nothing of itself behind."""

    def __init__(self, file: Path) -> None:
        self._file, self._told = file, False
        self._out: Any = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what was told before a kill, or while somebody looks on, is in the file.
            self._out = file.open("ab", buffering=0)
        except OSError as error:
            self._warn(error)

    def write(self, piece: bytes) -> None:
        """Append a piece, in one call to the system."""
        if self._out is None:
            return
        try:
            size = os.fstat(self._out.fileno()).st_size
            if self._out.write(piece) < len(piece):
                with suppress(OSError):
                    self._out.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Close the file."""
        if self._out is not None:
            with suppress(OSError):
                self._out.close()

    def _warn(self, error: OSError) -> None:
        if not self._told:
            log.warning("%s cannot be written, the training goes on without: %s", self._file, error)
        self._told = True


class _Lines(_Appended):
    """A file of lines; one that a power cut left unfinished is ended."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        with suppress(OSError):
            text = file.read_bytes()[-1:] if file.is_file() else b""
            if text not in (b"", b"\n"):
                self.write(b"\n")


def _line(row: Mapping[str, float]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _milliseconds() -> int:
    return round(time.time() * 1000)


def _events(folder: Path) -> _Appended:
    # TensorBoard reads a folder's files by the order of their names.
    file = _Appended(folder / "tensorboard" / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}")
    file.write(_event(0, version="brain.Event:2"))
    return file


def _event(
    step: int, values: Mapping[str, float] | None = None, *, starts: bool = False, version: str | None = None
) -> bytes:
    """An event as TensorBoard's files have it: length, checksum, protocol buffer, checksum.

    Of tensorboardX its messages and its checksum: its writer is a thread that dies of a full disk, whereupon the
    training would wait for it for ever; and it flushes through to the disk.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import masked_crc32c

    event = Event(wall_time=time.time(), step=step)
    if values:
        event.summary.CopyFrom(Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()]))
    elif starts:
        event.session_log.CopyFrom(SessionLog(status=SessionLog.START))
    elif version:
        event.file_version = version
    data: bytes = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def _watch(folder: Path, device: torch.device, over: threading.Event) -> None:
    """Sample at once, every few seconds, and at the end."""
    lines, before, sampled = _Lines(folder / "system.jsonl"), _network(), -math.inf
    while True:
        # psutil measures since its last call: the first time, and soon after another, it must take a moment.
        soon = sampled < 0 or time.monotonic() - sampled < SHORTEST
        row = machine(folder, SHORTEST if soon else None)
        row |= {name: now - before[name] for name, now in _network().items() if name in before}
        lines.write(_line({"time": _milliseconds(), **row, **gpus(device)}))
        sampled = time.monotonic()
        if over.is_set():
            break
        over.wait(SYSTEM_EVERY)
    lines.close()


def machine(folder: Path, seconds: float | None) -> dict[str, float]:
    """Figures of processor, memory and disk; None: the processor's since they were last asked for."""
    import psutil

    memory, disk = _known(psutil.virtual_memory), _known(psutil.disk_usage, str(folder))
    found = {
        "cpu_utilization_percentage": _known(psutil.cpu_percent, seconds),
        "system_memory_usage_megabytes": memory and memory.used / 1e6,
        "system_memory_usage_percentage": memory and memory.used / memory.total * 100,
        "disk_usage_percentage": disk and disk.percent,
    }
    return {f"system/{name}": float(value) for name, value in found.items() if value is not None}


def _network() -> dict[str, float]:
    """Megabytes received and transmitted since the machine began."""
    import psutil

    found = _known(psutil.net_io_counters)
    if found is None:
        return {}
    way = "system/network_{}_megabytes".format
    return {way("receive"): found.bytes_recv / 1e6, way("transmit"): found.bytes_sent / 1e6}


def gpus(device: torch.device) -> dict[str, float]:
    """What is known of each GPU: all of it where NVML's Python package is there, else the memory of ``device``."""
    if not torch.cuda.is_available():
        return {}
    found: dict[str, float | None] = {}
    for i in range(torch.cuda.device_count()):
        used = _known(torch.cuda.device_memory_used, i)
        about = _known(torch.cuda.get_device_properties, i)
        total = about and about.total_memory
        if used is None and i == (device.index or 0):
            # Not of the others: asking CUDA for it would take some of their memory.
            free, total = _known(torch.cuda.mem_get_info, i) or (None, total)
            used = None if free is None else total - free
        power = _known(torch.cuda.power_draw, i)
        found |= {
            f"system/gpu_{i}_memory_usage_megabytes": None if used is None else used / 1e6,
            f"system/gpu_{i}_memory_usage_percentage": None if used is None or not total else used / total * 100,
            f"system/gpu_{i}_utilization_percentage": _known(torch.cuda.utilization, i),
            f"system/gpu_{i}_power_usage_watts": None if power is None else power / 1000,
        }
    return {name: float(value) for name, value in found.items() if value is not None}


def _known(ask: Callable[..., Any], *of: Any) -> Any:
    """What a system says of itself, or None: a container or a driver may hide anything, in any way."""
    try:
        return ask(*of)
    except Exception:  # noqa: BLE001 - as said
        return None
