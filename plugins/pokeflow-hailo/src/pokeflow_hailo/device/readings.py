"""What ``hailortcli`` 4.23 says, read: each function takes an output, and tells figures only where they stand there.

Exit codes say little: scanning, identifying and measuring power end with 0 on a machine without a chip. A line or a
row that shows a device is required; ValueError says what is missing.
"""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokeflow_hailo.figures import no_constant

MAX_CHARS = 1 << 20
RUN_COLUMNS = (
    *("net_name", "status", "status_description", "fps", "num_of_frames", "send_rate", "recv_rate"),
    *("hw_latency", "overall_latency", "min_power", "average_power", "max_power"),
    *("min_current", "average_current", "max_current", "min_temp", "average_temp", "max_temp"),
)
"""Of ``run --csv``; latencies in milliseconds, power in watts, temperatures in degrees Celsius."""
BENCHMARK_COLUMNS = (
    *("net_name", "fps", "hw_only_fps", "num_of_frames", "num_of_frames_hw_only", "hw_latency", "overall_latency"),
    *("min_power", "average_power", "max_power"),
)
FAILED_FIELDS = 14
"""A run that failed writes so many of its 18 fields, and no end of line."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``fw-control identify`` says: the architecture as compilers name it (``hailo8l``), and the firmware."""

    architecture: str
    firmware: str
    board: str
    serial: str | None
    features: tuple[str, ...] | None


def scan(text: str) -> list[str]:
    """Ids of the devices that ``scan`` found, one at least."""
    found = re.findall(r"^\[-\] Device: (\S+)\s*$", _sound(text), re.MULTILINE)
    if not found:
        raise ValueError("scan shows no device")
    return list(found)


def identify(text: str) -> Identity:
    """The first device of ``fw-control identify``; the features stand there only with ``--extended``."""
    told = re.findall(r"^([\w ]{3,40}): (.*)$", _sound(text), re.MULTILINE)
    lines = {name: value.rstrip() for name, value in told}
    named = re.fullmatch(r"HAILO\w{1,10}", lines.get("Device Architecture", ""))
    if not named or "Firmware Version" not in lines:
        raise ValueError("identify shows no device")
    features = lines.get("Device supported features")
    serial = lines.get("Serial Number", "<N/A>")
    return Identity(
        named[0].lower(),
        lines["Firmware Version"],
        lines.get("Board Name", "").rstrip("\0"),
        None if serial == "<N/A>" else serial.rstrip("\0"),
        None if features is None else tuple(features.split(", ")),
    )


def measure_power(text: str) -> dict[str, float]:
    """Watts of ``measure-power``: ``current``, or with ``--duration`` ``average``, ``min``, ``max`` and ``samples``."""
    text = _sound(text)
    names = {
        "current": r"Current power consumption \(W\): (\S+)",
        "average": r"Average value \(W\): (\S+)",
        "min": r"Min value \(W\): (\S+)",
        "max": r"Max value \(W\): (\S+)",
        "samples": r"Total samples: (\S+)",
    }
    found = {name: match for name, pattern in names.items() if (match := re.search(pattern, text))}
    if "current" not in found and "average" not in found:
        raise ValueError("measure-power shows no power")
    figures = {name: _number(match[1], name) for name, match in found.items()}
    if figures.get("samples") == 0:
        raise ValueError("measure-power took no sample")
    return figures


def run_csv(text: str) -> dict[str, Any]:
    """The one row of ``run --csv``: figures by column, None where a field is empty; ValueError where the run failed."""
    row = _row(text, RUN_COLUMNS)
    if row[1:2] != ["0"]:
        said = " ".join(row[1:3]) or "nothing"
        raise ValueError(f"hailortcli run failed: status {said}")
    return _figures(row, RUN_COLUMNS, text=("net_name", "status", "status_description"))


def benchmark_csv(text: str) -> dict[str, Any]:
    """The one row of ``benchmark --csv``; ``overall_latency`` is always empty, and None here."""
    return _figures(_row(text, BENCHMARK_COLUMNS), BENCHMARK_COLUMNS, text=("net_name",))


def run2_json(text: str) -> dict[str, float]:
    """Figures of ``run2 -j``: ``fps``, ``hw_latency`` (ms), and ``power`` (W), ``temperature`` (C) as averages.

    It writes the rate and what has a unit as strings; what is not there is left out.
    """
    try:
        told = json.loads(_sound(text), parse_constant=no_constant)
        (group,) = told["network_groups"]
        devices = told.get("devices", [])
        figures = {"fps": group["FPS"], "hw_latency": group.get("hw_latency")}
        for name, unit in (("power", "W"), ("temperature", "C")):
            if devices and name in devices[0]:
                value, _, found = str(devices[0][name]["average"]).partition(" ")
                if found != unit:
                    raise ValueError(f"{name} is in {found!r}, not in {unit}")
                figures[name] = value
        return {name: _number(value, name) for name, value in figures.items() if value is not None}
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"run2 wrote no figures ({type(error).__name__}: {error})") from error


def parse_hef(text: str) -> dict[str, Any]:
    """What ``parse-hef`` shows: ``architecture``, ``network``, ``contexts``, and the ``inputs`` and ``outputs``."""
    text = _sound(text)
    chip = re.search(r"^Architecture HEF was compiled for: (HAILO\w{1,10})\s*$", text, re.MULTILINE)
    group = re.search(
        r"^Network group name: ([^,\n]+), (?:Single Context|Multi Context - Number of contexts: (\d{1,4}))\s*$",
        text,
        re.MULTILINE,
    )
    if not chip or not group:
        raise ValueError("parse-hef shows no network")
    streams = re.findall(r"^[ \t]+(Input|Output)[ \t]+(\S+) (\w+), ([\w ]+)\(([\dx]+)\)[ \t]*$", text, re.MULTILINE)
    shown = [
        (kind, {"name": name, "type": type_, "order": order, "shape": [int(n) for n in shape.split("x")]})
        for kind, name, type_, order, shape in streams
    ]
    return {
        "architecture": chip[1].lower(),
        "network": group[1],
        "contexts": int(group[2] or 1),
        "inputs": [stream for kind, stream in shown if kind == "Input"],
        "outputs": [stream for kind, stream in shown if kind == "Output"],
    }


def _sound(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"{len(text):,} characters are more than hailortcli says")
    return text


def _row(text: str, columns: Sequence[str]) -> list[str]:
    try:
        rows = list(csv.reader(io.StringIO(_sound(text), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"no table ({error})") from error
    if not rows or tuple(rows[0]) != tuple(columns):
        raise ValueError("no table with the columns of hailortcli 4.23")
    if len(rows) != 2:
        raise ValueError(f"{len(rows) - 1} rows, where one is expected")
    failed = columns is RUN_COLUMNS and len(rows[1]) == FAILED_FIELDS and rows[1][1] != "0"
    if len(rows[1]) != len(columns) and not failed:
        raise ValueError(f"a row of {len(rows[1])} fields, where {len(columns)} are expected")
    return rows[1]


def _figures(row: Sequence[str], columns: Sequence[str], text: Sequence[str]) -> dict[str, Any]:
    pairs = zip(columns, row, strict=True)
    return {name: value if name in text else _number(value, name) if value else None for name, value in pairs}


def _number(value: object, name: str) -> float:
    try:
        # Python would read 1_0 as ten.
        number = math.nan if "_" in str(value) else float(str(value))
    except ValueError:
        number = math.nan
    if isinstance(value, bool | Mapping | list) or not math.isfinite(number) or (number < 0 and "temp" not in name):
        raise ValueError(f"{name} is {str(value)[:40]!r}, which is no figure")
    return number
