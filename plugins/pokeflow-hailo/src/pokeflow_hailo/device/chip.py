"""A chip on this machine or on another: asked through ``measure.py``, which is copied there, and answers in files."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pokeflow import PokeflowError, Unavailable, progress
from pokeflow_hailo import hef, host
from pokeflow_hailo.device import cli
from pokeflow_hailo.figures import no_constant
from pokeflow_hailo.host import NOT_THERE, Host
from pokeflow_hailo.network import BATCH, INSTALL, explained, status
from pokeflow_hailo.shown import printable
from pokeflow_vision import npyfile
from pokeflow_vision.preprocessing import Preprocessing, to_square

SCRIPT = Path(__file__).with_name("measure.py")
LOCAL = "local"
PART = 1024
"""Pictures that lie on the device at once: its temporary folder may be its memory."""
MAX_ANSWER = 64 << 20
MOST_SAID = 32
"""Entries of what a chip says of itself; it has ten."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Pictures in batches of ``batch``, several batches under way: when each was done, in ms since the first began."""

    batch: int
    done_ms: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Pictures a second."""
        return self.batch * len(self.done_ms) / self.done_ms[-1] * 1000


@dataclass(frozen=True, slots=True)
class Watts:
    """Watts, or None and why."""

    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured, in order, with the reason for what was not.

    ``latencies`` are milliseconds of single frames; ``temperatures`` degrees Celsius; by the board's sensor, ``power``
    on average over the passes and ``idle`` before them. ``said`` is what ``hailortcli`` printed, by what it was asked
    for.
    """

    latencies: tuple[float, ...]
    passes: tuple[Pass, ...]
    temperatures: tuple[float, ...]
    temperature_reason: str
    power: Watts
    idle: Watts
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip with a HEF beside it. ``about`` is what it says of itself; ``simulated``: a double answers, no chip."""

    host: Host
    python: str
    needs: str
    about: Mapping[str, str | None]
    simulated: bool

    @property
    def device(self) -> str:
        """What the figures were measured on, in a line; the whole of it is ``about``."""
        architecture = str(self.about.get("architecture"))
        named = hef.NAMES.get(architecture, architecture)
        return f"{named}, firmware {self.about.get('firmware')}, driver {self.about.get('driver') or 'not told'}"

    @property
    def framework(self) -> str:
        """What runs the HEF, with its version."""
        return f"HailoRT {self.about.get('library')}"

    def embed(self, images: "np.ndarray", rows: Sequence[int], spec: Preprocessing, label: str) -> "np.ndarray":
        """Embeddings of these rows of uint8 N×H×W×3 pictures, float32 n×D as the chip gives them."""
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
            raise PokeflowError(f"{self.host.name}: gave embeddings of different lengths. Run it again.")
        return np.concatenate(parts)

    def time(
        self, squares: "np.ndarray", *, runs: int, warmup: int, batch_sizes: Sequence[int], max_seconds: float
    ) -> Measured:
        """Latency, throughput, temperature and power with these pictures, uint8 N×size×size×3."""
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
        answer = _ask(
            self.host, self.python, self.needs, request, seconds=400 + 2 * max_seconds * (1 + len(batch_sizes))
        )
        try:
            return _measured(answer, batch_sizes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PokeflowError(f"{self.host.name}: its answer makes no sense ({error!r}). Run it again.") from error

    def _put(self, squares: "np.ndarray", here: Path) -> None:
        np.save(here / "squares.npy", squares)
        self.host.put(here / "squares.npy", "squares.npy")


@contextmanager
def opened(device: str | None, python: str, file: Path) -> Iterator[Chip]:
    """The chip of a device (None or ``local``: this machine), which must be of the kind that this HEF is for.

    ``python`` is the interpreter there that can import ``hailo_platform``. ``Unavailable`` where there is no chip or
    no HailoRT; PokeflowError where the host cannot be reached, or the HEF is for another chip.
    """
    header = hef.read(file)
    needs = INSTALL
    if version := hef.runtime(header):
        needs += f" HailoRT {version} goes with this HEF's compiler, {header.compiler_version}."
    with host.opened(None if device in (None, LOCAL) else device) as machine:
        machine.put(SCRIPT, "measure.py")
        answer = _ask(machine, python, needs, {"do": "identify"}, seconds=120)
        about = _about(answer["device"])
        if about.get("architecture") != header.architecture:
            raise PokeflowError(
                f"{machine.name}: its chip is {about.get('architecture')}, and {file.name} is compiled for "
                f"{header.architecture}; the chip would refuse it (status 93, before 26) or be measured as another. "
                f"Name a device with a {header.architecture}, or compile for this one."
            )
        machine.put(file, "model.hef")
        about |= cli.about(machine, str(about.get("id")))
        yield Chip(machine, python, needs, about, answer["simulated"])


def _ask(machine: Host, python: str, needs: str, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The answer of ``measure.py``; what it could not do is raised, as ``Unavailable`` where a part is not there."""
    with tempfile.TemporaryDirectory() as here:
        Path(here, "request.json").write_text(json.dumps(request), encoding="utf-8")
        machine.put(Path(here, "request.json"), "request.json")
        code, said = machine.output([python, "measure.py", "request.json", "answer.json"], seconds)
        where, last = f"{machine.name}: {python}", printable(said.strip().rpartition("\n")[2], 300)
        if code in NOT_THERE or "No module named 'numpy'" in said:
            raise Unavailable(f"{where}: is not there, or has no numpy ({last}). {needs}")
        try:
            machine.get("answer.json", Path(here, "answer.json"), limit=MAX_ANSWER)
        except PokeflowError as error:
            raise PokeflowError(
                f"{where}: ended with {code} and left no answer: {last or 'it said nothing'}"
            ) from error
        try:
            answer = json.loads(Path(here, "answer.json").read_text(encoding="utf-8"), parse_constant=no_constant)
            machine.run(["rm", "-f", "answer.json"])
            problem = answer.get("problem")
            told = (problem["kind"], printable(str(problem["text"]), 500)) if problem else ("", "")
            if not problem and (
                code != 0 or not isinstance(answer["simulated"], bool) or not isinstance(answer["device"], dict)
            ):
                raise ValueError("it has not what was asked for")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PokeflowError(f"{where}: its answer makes no sense ({error!r}). Run it again.") from error
        _require_answered(machine, where, needs, *told)
        return dict(answer)


def _require_answered(machine: Host, where: str, needs: str, kind: str, text: str) -> None:
    if kind == "no_runtime":
        raise Unavailable(f"{where}: cannot import hailo_platform ({text}; {cli.seen(machine)}). {needs}")
    if kind == "no_device":
        raise Unavailable(f"{where}: finds no Hailo chip ({text}; {cli.seen(machine)}). Connect one. {needs}")
    if kind:
        raise explained(where, text, needs) if status(text) else PokeflowError(f"{where}: {text}")


def _rows(file: Path, count: int, where: str) -> "np.ndarray":
    try:
        rows = npyfile.read(file)
        if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != count:
            raise ValueError("not the rows that were asked for")
        if not np.isfinite(rows).all():
            raise ValueError("they are not finite")
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{where}: its embeddings cannot be used ({error}). Run it again.") from error
    return rows


def _measured(answer: Mapping[str, Any], batch_sizes: Sequence[int]) -> Measured:
    told, power, heat = answer["time"], answer["time"]["power"], answer["time"]["temperature"]
    passes = tuple(Pass(int(one["batch"]), _times(one["done_ms"])) for one in told["throughput"])
    if [one.batch for one in passes] != list(batch_sizes):
        raise ValueError("other batch sizes than asked for")
    return Measured(
        _times(told["latency_ms"]),
        passes,
        tuple(_figure(value) for value in heat["celsius"]),
        printable(str(heat["reason"] or ""), 500),
        _watts(power["average_w"], power["reason"]),
        _watts(power["idle_w"], power["idle_reason"]),
        _said(answer["hailortcli"]),
    )


def _about(told: Mapping[str, Any]) -> dict[str, str | None]:
    """What a chip says of itself: as many entries, and as long, as a record may hold."""
    kept = list(told.items())[:MOST_SAID]
    return {printable(key, 40): None if value is None else printable(str(value), 200) for key, value in kept}


def _said(told: Mapping[str, Any]) -> dict[str, Any]:
    """What ``hailortcli`` printed, by what it was asked for, or the reason why it was not; all else is left out."""
    kept: dict[str, Any] = {}
    for name, value in told.items():
        if name == "reason":
            kept[name] = printable(str(value), 500)
        if name in ("latency", "power", "idle"):
            said = "\n".join(map(printable, str(value["said"])[-4000:].splitlines()))
            kept[name] = {"exit": value["exit"], "said": said, "csv": str(value["csv"])[:8000]}
    return kept


def _watts(value: Any, reason: Any) -> Watts:
    return Watts(None if value is None else _figure(value), printable(str(reason or ""), 500))


def _times(values: Sequence[Any]) -> tuple[float, ...]:
    times = tuple(_figure(value) for value in values)
    if not times or min(times) <= 0:
        raise ValueError("times that are none")
    return times


def _figure(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no figure")
    return float(value)
