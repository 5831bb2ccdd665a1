"""Conversion of measurements on a chip to figures, shared by the stages benchmark and profile."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pokeflow_hailo.device import readings
from pokeflow_hailo.device.chip import Measurement
from pokeflow_hailo.figures import Figure
from pokeflow_vision.benchmark import PERCENTILES

Read = Callable[[Mapping[str, Any]], float]
"""Parser of a figure in ``hailortcli``'s output (keys ``said`` and ``csv``); raises ValueError if it is missing."""
BY_CLI = {
    "latency": "hailortcli run --measure-latency, an average on the chip alone",
    "power": "hailortcli run --measure-power, an average",
    "idle": "hailortcli measure-power, an average after all ran",
}


def figures(measured: Measurement, *, simulated: bool) -> dict[str, Figure]:
    """Return latency percentiles, hardware latency, throughput per batch size, temperature and power as figures."""
    by_name: dict[str, Figure] = {}

    def add(name: str, value: float | None, unit: str, how: str, reason: str = "") -> None:
        by_name[name] = Figure(value, unit, "device", how, reason, simulated)

    runs = len(measured.latencies)
    for percent, least in PERCENTILES.items():
        value = float(np.percentile(measured.latencies, percent)) if runs >= least else None
        reason = f"{runs} runs were made; {least} or more are needed for this percentile"
        add(f"latency_p{percent}_ms", value, "ms", "own loop, a frame at a time, from Python and back", reason)
    value, reason = read_hailortcli(measured, "latency", _column("hw_latency"))
    add("hw_latency_ms", value, "ms", BY_CLI["latency"], reason)
    for one in measured.passes:
        how = f"own loop, batches of {one.batch}, several under way"
        add(f"throughput_fps_batch{one.batch}", one.throughput, "1/s", how)
    hottest = max(measured.temperatures, default=None)
    add("temperature_c_max", hottest, "°C", "the chip's hotter sensor", measured.temperature_reason or "it gave none")
    for name, own, when, command, read in (
        ("power_w", measured.power, "averaged while throughput was measured", "power", _column("average_power")),
        ("power_idle_w", measured.idle, "once, before anything ran", "idle", _idle),
    ):
        value, how, reason = own.value, f"the board's sensor, {when}", own.reason
        if value is None and command in measured.said:
            value, why = read_hailortcli(measured, command, read)
            how, reason = BY_CLI[command], f"{reason}; {why}"
        add(name, value, "W", how, reason)
    return by_name


def read_hailortcli(measured: Measurement, command: str, read: Read) -> tuple[float | None, str]:
    """Return the figure of one ``hailortcli`` measurement, or None and the reason."""
    output = measured.said.get(command)
    if output is None:
        return None, str(measured.said.get("reason", "hailortcli was not asked"))
    try:
        return read(output), ""
    except ValueError as error:
        return None, f"{error} (exit {output['exit']!r}: {output['said'][-200:].strip()})"[:500]


def _column(name: str) -> Read:
    def read(output: Mapping[str, Any]) -> float:
        value = readings.run_csv(output["csv"])[name]
        if value is None:
            raise ValueError(f"hailortcli left {name} empty")
        return float(value)

    return read


def _idle(output: Mapping[str, Any]) -> float:
    return readings.measure_power(output["said"])
