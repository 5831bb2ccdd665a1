"""Telemetry of a running training: step metrics, TensorBoard events and system metrics, in files.

telemetry/steps.jsonl    one line per step; after a resume a step can occur twice, and its last line counts
telemetry/system.jsonl   system metrics every few seconds, under MLflow's names
telemetry/tensorboard/   one event file per attempt; later files replace the steps that they repeat

Telemetry is not part of a result's content, because its times differ between equal trainings. It cannot fail a
training: data that cannot be written are left out, with one warning per file.
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
"""Seconds between two samples of the system metrics."""
MIN_INTERVAL = 0.1
"""Shortest interval, in seconds, over which the utilization of the processor is measured."""


class Telemetry:
    """Open telemetry files of a training."""

    def __init__(self, folder: Path, begin: int) -> None:
        self._steps = _Lines(folder / "steps.jsonl")
        self._events = _events(folder)
        # This makes TensorBoard discard the same steps of an earlier attempt that was killed.
        self._events.write(_event(begin + 1, starts=True))

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write the learning rate and loss terms of a finished step; the first step and epoch are 1."""
        self._steps.write(_line({"step": step, "epoch": epoch, "time": _milliseconds(), **values}))
        self._events.write(_event(step, {f"train/{name}": value for name, value in values.items()}))

    def epoch(self, row: Mapping[str, float]) -> None:
        """Write the validation metrics of a history row, if it has any."""
        _write_validation(self._events, row)

    def close(self) -> None:
        """Close all files."""
        self._steps.close()
        self._events.close()


class _NoTelemetry(Telemetry):
    """Telemetry that writes nothing, for all processes but the first, which records the steps of all."""

    def __init__(self) -> None: ...

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


@contextmanager
def open_telemetry(work: Path, begin: int, device: torch.device, *, active: bool) -> Iterator[Telemetry]:
    """Yield the telemetry of a training, and sample system metrics in a thread within the context.

    Args:
        work: The task's work folder.
        begin: Number of steps that are already done.
        device: Device of the training.
        active: False in all processes but the first; the telemetry then writes nothing.

    """
    if not active:
        yield _NoTelemetry()
        return
    telemetry, stop = Telemetry(work / TELEMETRY, begin), threading.Event()
    thread = threading.Thread(target=_watch, args=(work / TELEMETRY, device, stop), name="telemetry", daemon=True)
    thread.start()
    try:
        yield telemetry
    finally:
        stop.set()
        thread.join(SYSTEM_EVERY)
        telemetry.close()


def write_final_metrics(work: Path, row: Mapping[str, float]) -> None:
    """Write the last history row to TensorBoard; its metrics are known only after the training has ended."""
    events = _events(work / TELEMETRY)
    _write_validation(events, row)
    events.close()


def _write_validation(events: "_AppendFile", row: Mapping[str, float]) -> None:
    metrics = {name: value for name, value in row.items() if name not in ("step", "epoch") and name[:6] != "train_"}
    if metrics:
        events.write(_event(int(row["step"]), {f"validation/{name}": value for name, value in metrics.items()}))


class _AppendFile:
    """A file to which pieces are appended whole; a piece that does not fit on the disk is removed again."""

    def __init__(self, file: Path) -> None:
        self._file, self._warned = file, False
        self._out: Any = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that the file is complete after a kill and for readers during the training.
            self._out = file.open("ab", buffering=0)
        except OSError as error:
            self._warn(error)

    def write(self, piece: bytes) -> None:
        """Append a piece with one system call; an error is logged once and never raised."""
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
        """Close the file, and ignore errors."""
        if self._out is not None:
            with suppress(OSError):
                self._out.close()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            log.warning("%s cannot be written; the training continues without it: %s", self._file, error)
        self._warned = True


class _Lines(_AppendFile):
    """A file of lines; a last line without end, as after a power cut, is terminated first."""

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


def _events(folder: Path) -> _AppendFile:
    # The time comes first, because TensorBoard reads the files of a folder in the order of their names.
    file = _AppendFile(folder / "tensorboard" / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}")
    file.write(_event(0, version="brain.Event:2"))
    return file


def _event(
    step: int, values: Mapping[str, float] | None = None, *, starts: bool = False, version: str | None = None
) -> bytes:
    """Encode an event for a TensorBoard file: length, checksum, protocol buffer, checksum.

    Only the messages and the checksum of tensorboardX are used. Its writer is a thread that dies if the disk is full,
    after which the training would wait for it for ever; it also flushes every write to the disk.

    Args:
        step: Number of the step.
        values: Scalars by tag.
        starts: True for an event after which earlier events of this and later steps are discarded.
        version: Version of the file format, for the first event of a file.

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


def _watch(folder: Path, device: torch.device, stop: threading.Event) -> None:
    """Write system metrics at once, then every ``SYSTEM_EVERY`` seconds, and once more when ``stop`` is set."""
    lines, before, sampled_at = _Lines(folder / "system.jsonl"), _network(), -math.inf
    while True:
        # psutil measures since its last call; the first call, or one soon after another, must wait an interval.
        too_soon = sampled_at < 0 or time.monotonic() - sampled_at < MIN_INTERVAL
        row = machine(folder, MIN_INTERVAL if too_soon else None)
        row |= {name: now - before[name] for name, now in _network().items() if name in before}
        lines.write(_line({"time": _milliseconds(), **row, **gpus(device)}))
        sampled_at = time.monotonic()
        if stop.is_set():
            break
        stop.wait(SYSTEM_EVERY)
    lines.close()


def machine(folder: Path, seconds: float | None) -> dict[str, float]:
    """Return the utilization of processor, memory and disk as ``system/`` metrics; unknown ones are left out.

    Args:
        folder: A folder on the disk to measure.
        seconds: Interval over which to measure the processor; None measures since the last call.

    """
    import psutil

    memory, disk = _query(psutil.virtual_memory), _query(psutil.disk_usage, str(folder))
    metrics = {
        "cpu_utilization_percentage": _query(psutil.cpu_percent, seconds),
        "system_memory_usage_megabytes": memory and memory.used / 1e6,
        "system_memory_usage_percentage": memory and memory.used / memory.total * 100,
        "disk_usage_percentage": disk and disk.percent,
    }
    return {f"system/{name}": float(value) for name, value in metrics.items() if value is not None}


def _network() -> dict[str, float]:
    """Return the megabytes that were received and transmitted since the machine started."""
    import psutil

    counters = _query(psutil.net_io_counters)
    if counters is None:
        return {}
    name = "system/network_{}_megabytes".format
    return {name("receive"): counters.bytes_recv / 1e6, name("transmit"): counters.bytes_sent / 1e6}


def gpus(device: torch.device) -> dict[str, float]:
    """Return the metrics of each GPU as ``system/gpu_<i>_`` metrics; unknown ones are left out.

    Without NVML's Python package only the memory of ``device`` is known.
    """
    if not torch.cuda.is_available():
        return {}
    metrics: dict[str, float | None] = {}
    for i in range(torch.cuda.device_count()):
        used = _query(torch.cuda.device_memory_used, i)
        properties = _query(torch.cuda.get_device_properties, i)
        total = properties and properties.total_memory
        if used is None and i == (device.index or 0):
            # Only for this device: a CUDA context on another GPU would take some of its memory.
            free, total = _query(torch.cuda.mem_get_info, i) or (None, total)
            used = None if free is None else total - free
        power = _query(torch.cuda.power_draw, i)
        metrics |= {
            f"system/gpu_{i}_memory_usage_megabytes": None if used is None else used / 1e6,
            f"system/gpu_{i}_memory_usage_percentage": None if used is None or not total else used / total * 100,
            f"system/gpu_{i}_utilization_percentage": _query(torch.cuda.utilization, i),
            f"system/gpu_{i}_power_usage_watts": None if power is None else power / 1000,
        }
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _query(query: Callable[..., Any], *args: Any) -> Any:
    """Call a system query, and return None if it fails; containers and drivers can fail in any way."""
    try:
        return query(*args)
    except Exception:  # noqa: BLE001
        return None
