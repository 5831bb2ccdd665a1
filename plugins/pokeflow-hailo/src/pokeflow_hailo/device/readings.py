"""Parsers for the output of ``hailortcli`` 4.23, one function per command.

Exit codes say little: scanning, identifying and measuring power exit with 0 on a machine without a chip. Each function
therefore requires a line or row that shows a device, and raises a ValueError that says what is missing.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 1 << 20
RUN_COLUMNS = (
    *("net_name", "status", "status_description", "fps", "num_of_frames", "send_rate", "recv_rate"),
    *("hw_latency", "overall_latency", "min_power", "average_power", "max_power"),
    *("min_current", "average_current", "max_current", "min_temp", "average_temp", "max_temp"),
)
"""Columns of ``run --csv``; latencies in milliseconds, power in watts, temperatures in degrees Celsius."""
FAILED_FIELDS = 14
"""Number of the 18 fields that a failed run writes, without an end of line."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device of ``fw-control identify``.

    Attributes:
        architecture: Chip, as the compiler names it (``hailo8l``).
        firmware: Version of the firmware.
        clock: Clock rate of the neural network core (``400MHz``); only with ``--extended``.
        features: Supported features; only with ``--extended``.

    """

    architecture: str
    firmware: str
    clock: str | None
    features: str | None


def scan(text: str) -> list[str]:
    """Return the ids of the devices in the output of ``scan``, at least one."""
    device_ids = re.findall(r"^\[-\] Device: (\S+)\s*$", _bounded(text), re.MULTILINE)
    if not device_ids:
        raise ValueError("hailortcli scan shows no device")
    return list(device_ids)


def identify(text: str) -> dict[str, Identity]:
    """Return the devices in the output of ``fw-control identify`` by id, at least one."""
    identities = {}
    for part in re.split(r"^Executing on device: ", _bounded(text), flags=re.MULTILINE)[1:]:
        device_id, _, body = part.partition("\n")
        lines = {name: value.strip() for name, value in re.findall(r"^([\w ]{3,40}): (.*)$", body, re.MULTILINE)}
        chip = re.fullmatch(r"HAILO\w{1,10}", lines.get("Device Architecture", ""))
        if chip and lines.get("Firmware Version"):
            identities[device_id.strip()] = Identity(
                chip[0].lower(),
                lines["Firmware Version"],
                lines.get("Neural Network Core Clock Rate"),
                lines.get("Device supported features"),
            )
    if not identities:
        raise ValueError("hailortcli identify shows no device")
    return identities


def measure_power(text: str) -> float:
    """Return the average power in watts from the output of ``measure-power --duration``, of at least one sample."""
    values = {}
    for name, pattern in {"average": r"^Average value \(W\): (\S+)", "samples": r"^Total samples: (\S+)"}.items():
        if not (match := re.search(pattern, _bounded(text), re.MULTILINE)):
            raise ValueError("hailortcli measure-power shows no power")
        values[name] = _number(match[1], name)
    if not values["samples"]:
        raise ValueError("hailortcli measure-power took no sample")
    return values["average"]


def run_csv(text: str) -> dict[str, Any]:
    """Return the only row of ``run --csv`` by column, None for empty fields; raise a ValueError for a failed run."""
    row = _row(text, RUN_COLUMNS)
    if row[1:2] != ["0"]:
        status = " ".join(row[1:3]) or "nothing"
        raise ValueError(f"hailortcli run failed: status {status}")
    return _figures(row, RUN_COLUMNS, text=("net_name", "status", "status_description"))


def parse_hef(text: str) -> dict[str, Any]:
    """Return architecture, network group, number of contexts and the vstreams from the output of ``parse-hef``."""
    text = _bounded(text)
    chip = re.search(r"^Architecture HEF was compiled for: (HAILO\w{1,10})\s*$", text, re.MULTILINE)
    group = re.search(
        r"^Network group name: ([^,\n]+), (?:Single Context|Multi Context - Number of contexts: (\d{1,4}))\s*$",
        text,
        re.MULTILINE,
    )
    if not chip or not group:
        raise ValueError("parse-hef shows no network")
    streams = re.findall(r"^[ \t]+(Input|Output)[ \t]+(\S+) (\w+), ([\w ]+)\(([\dx]+)\)[ \t]*$", text, re.MULTILINE)
    vstreams = [
        (kind, {"name": name, "type": type_, "order": order, "shape": [int(n) for n in shape.split("x")]})
        for kind, name, type_, order, shape in streams
    ]
    return {
        "architecture": chip[1].lower(),
        "network": group[1],
        "contexts": int(group[2] or 1),
        "inputs": [stream for kind, stream in vstreams if kind == "Input"],
        "outputs": [stream for kind, stream in vstreams if kind == "Output"],
    }


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"{len(text):,} characters exceed the output of hailortcli")
    return text


def _row(text: str, columns: Sequence[str]) -> list[str]:
    try:
        rows = list(csv.reader(io.StringIO(_bounded(text), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"no table ({error})") from error
    if not rows or tuple(rows[0]) != tuple(columns):
        raise ValueError("no table with the columns of hailortcli 4.23")
    if len(rows) != 2:
        raise ValueError(f"{len(rows) - 1} rows; expected one")
    failed = columns is RUN_COLUMNS and len(rows[1]) == FAILED_FIELDS and rows[1][1] != "0"
    if len(rows[1]) != len(columns) and not failed:
        raise ValueError(f"a row of {len(rows[1])} fields; expected {len(columns)}")
    return rows[1]


def _figures(row: Sequence[str], columns: Sequence[str], text: Sequence[str]) -> dict[str, Any]:
    pairs = zip(columns, row, strict=True)
    return {name: value if name in text else _number(value, name) if value else None for name, value in pairs}


def _number(value: object, name: str) -> float:
    try:
        # float() would accept 1_0 as ten.
        number = math.nan if "_" in str(value) else float(str(value))
    except ValueError:
        number = math.nan
    if isinstance(value, bool | Mapping | list) or not math.isfinite(number) or (number < 0 and "temp" not in name):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a valid number")
    return number
