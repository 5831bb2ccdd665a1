"""Measurement script for a chip's machine. It needs only Python 3.9, numpy and HailoRT 4.20 to 4.23.

    python3 measure.py REQUEST.json ANSWER.json

A request is ``{"do": "identify"}``, ``{"do": "embed", …}`` or ``{"do": "time", …}``; see the functions of these names.
The answer has ``device``, ``simulated`` and the results; or ``problem`` with ``kind`` and ``text``. Exit codes: 0 for
success, 3 if the chip or HailoRT is missing, 4 for any other failure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Callable  # noqa: UP035 - older interpreters run this

import numpy as np

UNAVAILABLE, FAILED = 3, 4
# Timeout of a frame in milliseconds.
TIMEOUT_MS = 10_000
# Pipelined batches while throughput is measured.
DEPTH = 4
ARCHITECTURES = {1: "hailo8", 2: "hailo8l"}


class DeviceError(Exception):
    """The reason of a failed request; ``kind`` is no_runtime, no_device or failed."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main(request_file: str, answer_file: str) -> int:
    """Process a request file, write the answer file, and return the exit code."""
    response: dict[str, Any] = {}
    try:
        request = json.loads(Path(request_file).read_text(encoding="utf-8"))
        response = answer_request(request)
    except DeviceError as problem:
        response = {"problem": {"kind": problem.kind, "text": str(problem)}}
    except Exception as error:  # noqa: BLE001 - HailoRT's exceptions share no base class, and each must be reported
        response = {"problem": {"kind": "failed", "text": f"{type(error).__name__}: {error}"}}
    Path(answer_file).write_text(json.dumps(response), encoding="utf-8")
    kind = response.get("problem", {}).get("kind")
    return 0 if kind is None else FAILED if kind == "failed" else UNAVAILABLE


def answer_request(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; the chip is released before ``hailortcli`` measures with it."""
    try:
        import hailo_platform as hailo
    except ImportError as error:
        raise DeviceError("no_runtime", str(error)) from error
    device_ids = hailo.Device.scan()
    if not device_ids:
        raise DeviceError("no_device", "Device.scan() found none")
    response: dict[str, Any] = {"simulated": bool(getattr(hailo, "SIMULATED", False))}
    device = hailo.Device(device_ids[0])
    try:
        response["device"] = identify(hailo, device.control, device_ids[0])
        if request["do"] == "embed":
            response["embed"] = embed(hailo, request)
        if request["do"] == "time":
            response["time"] = measure_times(hailo, device.control, request)
    finally:
        device.release()
    if request["do"] == "time":
        response["hailortcli"] = command_line(request, response["time"]["power"])
    return response


def identify(hailo: Any, control: Any, device_id: object) -> dict[str, str | None]:
    """Describe the chip; the architecture is the firmware's, since a board's name may say hailo8 on an 8L."""
    board = control.identify()
    number = int(board.device_architecture)
    return {
        "id": str(device_id),
        "architecture": ARCHITECTURES.get(number, f"unknown ({number})"),
        "board": text(board.board_name),
        "product": text(board.product_name) or None,
        "serial": text(board.serial_number) or None,
        "firmware": text(board.firmware_version),
        "library": text(hailo.__version__),
        **driver(),
    }


def text(value: object) -> str:
    """Return a value as one printable line of at most 200 characters."""
    return "".join(c for c in str(value) if c.isprintable()).strip()[:200]


def driver() -> dict[str, str | None]:
    """Return the version of the loaded kernel module, or the reason why it is unknown."""
    try:
        version = Path("/sys/module/hailo_pci/version").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return {"driver": None, "driver_reason": text(error)}
    return {"driver": text(version)}


class OpenNetwork:
    """A network on the chip: uint8 pictures to float32 embeddings, frame by frame or in pipelined batches."""

    def __init__(self, hailo: Any, hef: str, batch: int) -> None:
        params = hailo.VDevice.create_params()
        params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
        self.device = hailo.VDevice(params)
        try:
            self.model = self.device.create_infer_model(str(hef))
            self.model.set_batch_size(batch)
            self.model.output().set_format_type(hailo.FormatType.FLOAT32)
            self.shape = tuple(self.model.input().shape)
            self.dim = int(np.prod(self.model.output().shape))
            self.configured = self.model.configure()
        except BaseException:
            self.device.release()
            raise

    def __enter__(self) -> OpenNetwork:
        self.configured.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.configured.__exit__(*error)
        self.device.release()

    def bindings(self, picture: np.ndarray) -> Any:
        """Return the bindings of one frame: its picture and the buffer for its embedding."""
        if picture.shape != self.shape or picture.dtype != np.uint8:
            raise DeviceError(
                "failed", f"the HEF requires uint8{list(self.shape)}, not {picture.dtype}{list(picture.shape)}"
            )
        frame = self.configured.create_bindings()
        frame.input().set_buffer(np.ascontiguousarray(picture))
        frame.output().set_buffer(np.empty(self.model.output().shape, np.float32))
        return frame

    def row(self, bindings: Any) -> np.ndarray:
        """Return the embedding of a finished frame."""
        return np.asarray(bindings.output().get_buffer(), np.float32).reshape(self.dim)


def embed(hailo: Any, request: dict[str, Any]) -> dict[str, int]:
    """Embed ``squares`` (.npy, uint8 N×S×S×3) with ``hef``, and write ``embeddings`` (.npy, float32 N×D)."""
    squares = np.load(request["squares"], mmap_mode="r", allow_pickle=False)
    with OpenNetwork(hailo, request["hef"], request["batch"]) as network:
        rows = np.empty((len(squares), network.dim), np.float32)
        for start in range(0, len(squares), request["batch"]):
            frames = [network.bindings(np.array(square)) for square in squares[start : start + request["batch"]]]
            network.configured.run(frames, TIMEOUT_MS)
            for at, frame in enumerate(frames, start):
                rows[at] = network.row(frame)
    np.save(request["embeddings"], rows)
    return {"count": len(rows), "dim": int(rows.shape[1])}


def measure_times(hailo: Any, control: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Measure latency, throughput with pipelined batches, temperature and power with the pictures of ``squares``.

    Each loop has ``runs`` measured runs after ``warmup`` ones, and ends after ``max_seconds``.
    """
    squares = np.load(request["squares"], allow_pickle=False)
    heat = Temperatures(control)
    heat.read()
    latencies = latency(hailo, request, squares)
    heat.read()
    meter = Meter(control)
    meter.start()
    passes = [throughput(hailo, request, squares, size, heat) for size in request["batch_sizes"]]
    power = meter.stop()
    heat.read()
    return {"latency_ms": latencies, "throughput": passes, "temperature": heat.to_dict(), "power": power}


def latency(hailo: Any, request: dict[str, Any], squares: np.ndarray) -> list[float]:
    """Return the milliseconds of sequential single frames, from submission to the embedding."""
    milliseconds: list[float] = []
    with OpenNetwork(hailo, request["hef"], 1) as network:
        frames = [network.bindings(square) for square in squares]
        began = time.perf_counter()
        for run in range(request["warmup"] + request["runs"]):
            start = time.perf_counter()
            network.configured.run([frames[run % len(frames)]], TIMEOUT_MS)
            end = time.perf_counter()
            if run >= request["warmup"]:
                milliseconds.append((end - start) * 1000)
            if end - began > request["max_seconds"] and milliseconds:
                break
    return milliseconds


def throughput(
    hailo: Any, request: dict[str, Any], squares: np.ndarray, size: int, heat: Temperatures
) -> dict[str, Any]:
    """Run pipelined batches of ``size``, and return the time each finished, in ms since the first one started.

    Args:
        hailo: The module ``hailo_platform``.
        request: The request.
        squares: The pictures.
        size: Number of pictures per batch.
        heat: Temperatures, which are read between the batches.

    """
    failures: list[str] = []

    def on_done(completion_info: Any) -> None:
        if completion_info.exception:
            failures.append(str(completion_info.exception))

    with OpenNetwork(hailo, request["hef"], size) as network:
        sets = [
            [network.bindings(squares[(size * group + at) % len(squares)]) for at in range(size)]
            for group in range(DEPTH)
        ]

        def run_loop(runs: int, seconds: float) -> list[float]:
            under_way: deque[Any] = deque()
            finished: list[float] = []
            began = time.perf_counter()

            def finish() -> None:
                under_way.popleft().wait(TIMEOUT_MS)
                finished.append((time.perf_counter() - began) * 1000)

            for run in range(runs):
                if len(under_way) == DEPTH:
                    finish()
                network.configured.wait_for_async_ready(timeout_ms=TIMEOUT_MS, frames_count=size)
                under_way.append(network.configured.run_async(sets[run % DEPTH], on_done))
                heat.read(every=1.0)
                if time.perf_counter() - began > seconds:
                    break
            while under_way:
                finish()
            if failures:
                raise DeviceError("failed", failures[0])
            return finished

        run_loop(max(1, request["warmup"] // size), request["max_seconds"] / 10)
        return {"batch": size, "done_ms": run_loop(max(DEPTH, request["runs"] // size), request["max_seconds"])}


class Temperatures:
    """Degrees Celsius of the chip's hotter sensor, read between the loops and once per second of throughput."""

    def __init__(self, control: Any) -> None:
        self.control, self.last = control, 0.0
        self.values: list[float] = []
        self.reason: str | None = None

    def read(self, every: float = 0.0) -> None:
        """Read the sensor, unless the last reading is less than ``every`` seconds old."""
        now = time.perf_counter()
        if self.reason or now - self.last < every:
            return
        self.last = now
        try:
            temperatures = self.control.get_chip_temperature()
            self.values.append(max(float(temperatures.ts0_temperature), float(temperatures.ts1_temperature)))
        except Exception as error:  # noqa: BLE001 - a sensor that fails costs its figure, not the measurement
            self.reason = f"{type(error).__name__}: {error}"

    def to_dict(self) -> dict[str, Any]:
        """Return all readings in order, and the reason if they ended early."""
        return {"celsius": self.values, "reason": self.reason}


class Meter:
    """The board's power sensor, at rest and over the throughput loops; missing readings are None with the reason.

    ``sensor`` is True if the board has one, None if that is unknown.
    """

    def __init__(self, control: Any) -> None:
        self.control = control
        self.reason: str | None = None
        self.sensor: bool | None = None
        self.idle: float | None = None
        try:
            self.sensor = bool(control.get_extended_device_information().supported_features.current_monitoring)
        except Exception as error:  # noqa: BLE001 - see above
            self.reason = f"{type(error).__name__}: {error}"
        if self.sensor is False:
            self.reason = "the board has no sensor (supported_features.current_monitoring is off)"
        self.idle_reason = self.reason
        if self.sensor:
            try:
                self.idle = float(control.power_measurement())
            except Exception as error:  # noqa: BLE001 - see above
                self.idle_reason = f"{type(error).__name__}: {error}"

    def start(self) -> None:
        """Start averaging in the firmware."""
        if self.sensor:
            self._try(self.control.stop_power_measurement)
            self._try(self.control.set_power_measurement)
            self._try(self.control.start_power_measurement)

    def stop(self) -> dict[str, Any]:
        """Stop averaging, and return average and maximum power in watts since the start."""
        measurement = self._try(self.control.get_power_measurement) if self.sensor else None
        if self.sensor:
            self._try(self.control.stop_power_measurement)
        report: dict[str, Any] = {
            "sensor": self.sensor,
            "reason": self.reason,
            "average_w": None,
            "max_w": None,
            "samples": 0,
            "idle_w": self.idle,
            "idle_reason": self.idle_reason,
        }
        if measurement is not None and self.reason is None:
            report["samples"] = int(measurement.total_number_of_samples)
            if report["samples"]:
                report["average_w"], report["max_w"] = float(measurement.average_value), float(measurement.max_value)
            else:
                report["reason"] = "the sensor gave no sample in that time"
        return report

    def _try(self, call: Callable[[], Any]) -> Any:
        if self.reason is None:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - see above
                self.reason = f"{type(error).__name__}: {error}"
        return None


def command_line(request: dict[str, Any], power: dict[str, Any]) -> dict[str, Any]:
    """Return the raw output of ``hailortcli``: hardware latency, and power readings that failed in Python.

    HailoRT's Python interface has no hardware latency. Power is skipped if the board is known to have no sensor.
    """
    program = shutil.which("hailortcli")
    if program is None:
        return {"reason": "hailortcli is not installed on that machine"}
    seconds = max(1, min(15, int(request["max_seconds"])))
    run = ["run", request["hef"], "-t", str(seconds)]
    commands = {"latency": [*run, "--measure-latency", "--csv", "hailortcli-latency.csv"]}
    if power["sensor"] is not False and power["average_w"] is None:
        commands["power"] = [*run, "--measure-power", "--csv", "hailortcli-power.csv"]
    if power["sensor"] is not False and power["idle_w"] is None:
        commands["idle"] = ["measure-power", "--duration", "2"]
    outputs: dict[str, Any] = {}
    for name, options in commands.items():
        csv = Path(f"hailortcli-{name}.csv")
        try:
            process = subprocess.run([program, *options], capture_output=True, timeout=seconds * 4 + 60, check=False)
            output = (process.stdout + process.stderr).decode("utf-8", "replace")[-4000:]
            rows = csv.read_bytes()[:8000].decode("utf-8", "replace") if csv.exists() else ""
            outputs[name] = {"exit": process.returncode, "said": output, "csv": rows}
        except (OSError, subprocess.TimeoutExpired) as error:
            outputs[name] = {"exit": None, "said": str(error)[:4000], "csv": ""}
    return outputs


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
