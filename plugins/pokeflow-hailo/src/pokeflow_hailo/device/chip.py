"""Access to a chip on this or another machine, through a copy of ``measure.py`` that answers in files."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pokeflow import PokeflowError, UnavailableError, progress
from pokeflow_hailo import hef, host
from pokeflow_hailo.device import cli
from pokeflow_hailo.figures import no_constant
from pokeflow_hailo.host import NOT_THERE, Host
from pokeflow_hailo.network import BATCH, INSTALL, explain_error, status
from pokeflow_hailo.sanitize import printable
from pokeflow_vision import npyfile
from pokeflow_vision.preprocessing import Preprocessing, to_square

SCRIPT = Path(__file__).with_name("measure.py")
LOCAL = "local"
PART = 1024
"""Pictures uploaded to the device at once: its temporary folder may be in memory."""
MAX_ANSWER = 64 << 20
MAX_ENTRIES = 32
"""Maximum number of entries in a chip's description; it normally has ten."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A throughput loop with pipelined batches of ``batch`` pictures: the time each finished, in ms since the start."""

    batch: int
    done_ms: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Pictures per second."""
        return self.batch * len(self.done_ms) / self.done_ms[-1] * 1000


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Power in watts, or None with the reason."""

    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """All measurements in order, with the reason for each missing one.

    Attributes:
        latencies: Milliseconds of single frames.
        passes: Throughput loops, one per batch size.
        temperatures: Degrees Celsius.
        temperature_reason: Reason why readings ended early or are missing.
        power: Average of the board's sensor over the passes.
        idle: Reading of the board's sensor before the passes.
        said: Output of ``hailortcli`` by measurement (``latency``, ``power``, ``idle``).

    """

    latencies: tuple[float, ...]
    passes: tuple[Pass, ...]
    temperatures: tuple[float, ...]
    temperature_reason: str
    power: PowerReading
    idle: PowerReading
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip with an uploaded HEF, described in ``about``; ``simulated`` means a simulator instead of a chip."""

    host: Host
    python: str
    needs: str
    about: Mapping[str, str | None]
    simulated: bool

    @property
    def device(self) -> str:
        """Chip, firmware and driver in one line; ``about`` has all details."""
        architecture = str(self.about.get("architecture"))
        name = hef.NAMES.get(architecture, architecture)
        return f"{name}, firmware {self.about.get('firmware')}, driver {self.about.get('driver') or 'unknown'}"

    @property
    def framework(self) -> str:
        """Name and version of the runtime."""
        return f"HailoRT {self.about.get('library')}"

    def embed(self, images: "np.ndarray", rows: Sequence[int], spec: Preprocessing, label: str) -> "np.ndarray":
        """Return the chip's embeddings, float32 n×D, of the selected rows of uint8 N×H×W×3 pictures.

        Args:
            images: The pictures.
            rows: Numbers of the selected rows.
            spec: Preprocessing of the pictures.
            label: Label of the progress bar.

        Raises:
            PokeflowError: If the device's response is invalid.

        """
        parts = []
        request = {
            "do": "embed",
            "hef": "model.hef",
            "squares": "squares.npy",
            "embeddings": "rows.npy",
            "batch": BATCH,
        }
        with tempfile.TemporaryDirectory() as here, progress.bar(label, len(rows)) as advance:
            for start in range(0, len(rows), PART):
                part = list(rows[start : start + PART])
                self._put(to_square(images[part], spec), Path(here))
                _ask(self.host, self.python, self.needs, request, seconds=600)
                self.host.get("rows.npy", Path(here, "rows.npy"), limit=PART * 8192 * 4 + 4096)
                parts.append(_rows(Path(here, "rows.npy"), len(part), self.host.name))
                advance(len(part))
        if len({part.shape[1] for part in parts}) != 1:
            raise PokeflowError(f"{self.host.name}: returned embeddings of different lengths. Repeat the measurement.")
        return np.concatenate(parts)

    def time(
        self, squares: "np.ndarray", *, runs: int, warmup: int, batch_sizes: Sequence[int], max_seconds: float
    ) -> Measurement:
        """Measure latency, throughput, temperature and power with uint8 N×size×size×3 pictures.

        Args:
            squares: The pictures.
            runs: Number of timed runs.
            warmup: Number of runs before the timed ones.
            batch_sizes: Batch sizes of the throughput loops.
            max_seconds: Time limit of each timing loop.

        Raises:
            PokeflowError: If the device's response is invalid.

        """
        with tempfile.TemporaryDirectory() as here:
            self._put(squares, Path(here))
        request = {
            "do": "time",
            "hef": "model.hef",
            "squares": "squares.npy",
            "runs": runs,
            "warmup": warmup,
            "batch_sizes": list(batch_sizes),
            "max_seconds": max_seconds,
        }
        response = _ask(
            self.host, self.python, self.needs, request, seconds=400 + 2 * max_seconds * (1 + len(batch_sizes))
        )
        try:
            return _parse_measurement(response, batch_sizes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PokeflowError(
                f"{self.host.name}: its response is invalid ({error!r}). Repeat the measurement."
            ) from error

    def _put(self, squares: "np.ndarray", here: Path) -> None:
        np.save(here / "squares.npy", squares)
        self.host.put(here / "squares.npy", "squares.npy")


@contextmanager
def open_chip(device: str | None, python: str, file: Path) -> Iterator[Chip]:
    """Connect to a device, check its chip against a HEF, upload the HEF, and yield the chip.

    Args:
        device: Machine of the chip; None or ``local`` is this machine.
        python: Interpreter on it that can import ``hailo_platform``.
        file: The HEF.

    Raises:
        UnavailableError: If the device has no chip or no HailoRT.
        PokeflowError: If the host is unreachable, or the HEF is for another chip.

    """
    header = hef.read(file)
    needs = INSTALL
    if version := hef.runtime(header):
        needs += f" This HEF's compiler, {header.compiler_version}, needs HailoRT {version}."
    with host.open_host(None if device in (None, LOCAL) else device) as machine:
        machine.put(SCRIPT, "measure.py")
        response = _ask(machine, python, needs, {"do": "identify"}, seconds=120)
        description = _describe(response["device"])
        if description.get("architecture") != header.architecture:
            raise PokeflowError(
                f"{machine.name}: its chip is {description.get('architecture')}, but {file.name} is compiled for "
                f"{header.architecture}; the chip would reject it (status 93, formerly 26) or be misreported. "
                f"Use a device with a {header.architecture}, or compile for this chip."
            )
        machine.put(file, "model.hef")
        description |= cli.about(machine, str(description.get("id")))
        yield Chip(machine, python, needs, description, response["simulated"])


def _ask(machine: Host, python: str, needs: str, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Run ``measure.py`` and return its answer; raise its problem: UnavailableError if chip or HailoRT is missing."""
    with tempfile.TemporaryDirectory() as here:
        Path(here, "request.json").write_text(json.dumps(request), encoding="utf-8")
        machine.put(Path(here, "request.json"), "request.json")
        code, output = machine.output([python, "measure.py", "request.json", "answer.json"], seconds)
        label, last = f"{machine.name}: {python}", printable(output.strip().rpartition("\n")[2], 300)
        if code in NOT_THERE or "No module named 'numpy'" in output:
            raise UnavailableError(f"{label}: not found, or has no numpy ({last}). {needs}")
        try:
            machine.get("answer.json", Path(here, "answer.json"), limit=MAX_ANSWER)
        except PokeflowError as error:
            raise PokeflowError(
                f"{label}: exited with {code} without a response: {last or 'no output'}. Check the device, and repeat "
                "the measurement."
            ) from error
        try:
            response = json.loads(Path(here, "answer.json").read_text(encoding="utf-8"), parse_constant=no_constant)
            machine.run(["rm", "-f", "answer.json"])
            problem = response.get("problem")
            kind_and_text = (problem["kind"], printable(str(problem["text"]), 500)) if problem else ("", "")
            if not problem and (
                code != 0 or not isinstance(response["simulated"], bool) or not isinstance(response["device"], dict)
            ):
                raise ValueError("it lacks requested fields")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PokeflowError(f"{label}: its response is invalid ({error!r}). Repeat the measurement.") from error
        _raise_problem(machine, label, needs, *kind_and_text)
        return dict(response)


def _raise_problem(machine: Host, label: str, needs: str, kind: str, text: str) -> None:
    if kind == "no_runtime":
        raise UnavailableError(
            f"{label}: cannot import hailo_platform ({text}; {cli.describe_devices(machine)}). {needs}"
        )
    if kind == "no_device":
        raise UnavailableError(
            f"{label}: no Hailo chip ({text}; {cli.describe_devices(machine)}). Connect one. {needs}"
        )
    if kind:
        raise explain_error(label, text, needs) if status(text) else PokeflowError(f"{label}: {text}")


def _rows(file: Path, count: int, label: str) -> "np.ndarray":
    try:
        rows = npyfile.read(file)
        if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != count:
            raise ValueError("not the requested rows")
        if not np.isfinite(rows).all():
            raise ValueError("they are not finite")
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{label}: invalid embeddings ({error}). Repeat the measurement.") from error
    return rows


def _parse_measurement(response: Mapping[str, Any], batch_sizes: Sequence[int]) -> Measurement:
    timing, power, heat = response["time"], response["time"]["power"], response["time"]["temperature"]
    passes = tuple(Pass(int(item["batch"]), _times(item["done_ms"])) for item in timing["throughput"])
    if [item.batch for item in passes] != list(batch_sizes):
        raise ValueError("batch sizes differ from the request")
    return Measurement(
        _times(timing["latency_ms"]),
        passes,
        tuple(_figure(value) for value in heat["celsius"]),
        printable(str(heat["reason"] or ""), 500),
        _watts(power["average_w"], power["reason"]),
        _watts(power["idle_w"], power["idle_reason"]),
        _cli_outputs(response["hailortcli"]),
    )


def _describe(description: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a chip's description, limited in number and length of entries for a record."""
    entries = list(description.items())[:MAX_ENTRIES]
    return {printable(key, 40): None if value is None else printable(str(value), 200) for key, value in entries}


def _cli_outputs(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the output of ``hailortcli`` by measurement, or the reason for its absence; drop unknown entries."""
    result: dict[str, Any] = {}
    for name, value in outputs.items():
        if name == "reason":
            result[name] = printable(str(value), 500)
        if name in ("latency", "power", "idle"):
            output = "\n".join(map(printable, str(value["said"])[-4000:].splitlines()))
            result[name] = {"exit": value["exit"], "said": output, "csv": str(value["csv"])[:8000]}
    return result


def _watts(value: Any, reason: Any) -> PowerReading:
    return PowerReading(None if value is None else _figure(value), printable(str(reason or ""), 500))


def _times(values: Sequence[Any]) -> tuple[float, ...]:
    times = tuple(_figure(value) for value in values)
    if not times or min(times) <= 0:
        raise ValueError("times must be above 0")
    return times


def _figure(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a finite number")
    return float(value)
