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
    "idle": "hailortcli measure-power, an average after all other measurements",
}


def figures(measurement: Measurement, *, simulated: bool) -> dict[str, Figure]:
    """Return latency percentiles, hardware latency, throughput per batch size, temperature and power as figures."""
    result: dict[str, Figure] = {}

    def add(name: str, value: float | None, unit: str, how: str, reason: str = "") -> None:
        result[name] = Figure(value, unit, "device", how, reason, simulated)

    runs = len(measurement.latencies)
    for percent, least in PERCENTILES.items():
        value = float(np.percentile(measurement.latencies, percent)) if runs >= least else None
        reason = f"{runs} runs were made; {least} or more are needed for this percentile"
        add(f"latency_p{percent}_ms", value, "ms", "own loop, a frame at a time, from Python and back", reason)
    value, reason = read_hailortcli(measurement, "latency", _column("hw_latency"))
    add("hw_latency_ms", value, "ms", BY_CLI["latency"], reason)
    for loop in measurement.passes:
        how = f"own loop, batches of {loop.batch}, several in flight"
        add(f"throughput_fps_batch{loop.batch}", loop.throughput, "1/s", how)
    hottest = max(measurement.temperatures, default=None)
    add(
        "temperature_c_max", hottest, "°C", "the chip's hotter sensor", measurement.temperature_reason or "it gave none"
    )
    for name, sensor, when, command, read in (
        ("power_w", measurement.power, "averaged while throughput was measured", "power", _column("average_power")),
        ("power_idle_w", measurement.idle, "once, before the first run", "idle", _idle),
    ):
        value, how, reason = sensor.value, f"the board's sensor, {when}", sensor.reason
        if value is None and command in measurement.said:
            value, cli_reason = read_hailortcli(measurement, command, read)
            how, reason = BY_CLI[command], f"{reason}; {cli_reason}"
        add(name, value, "W", how, reason)
    return result


def read_hailortcli(measurement: Measurement, command: str, read: Read) -> tuple[float | None, str]:
    """Return the figure of one ``hailortcli`` measurement, or None and the reason."""
    output = measurement.said.get(command)
    if output is None:
        return None, str(measurement.said.get("reason", "hailortcli was not run"))
    try:
        return read(output), ""
    except ValueError as error:
        return None, f"{error} (exit {output['exit']!r}: {output['said'][-200:].strip()})"[:500]


def _column(name: str) -> Read:
    def read(output: Mapping[str, Any]) -> float:
        value = readings.run_csv(output["csv"])[name]
        if value is None:
            raise ValueError(f"hailortcli reported no {name}")
        return float(value)

    return read


def _idle(output: Mapping[str, Any]) -> float:
    return readings.measure_power(output["said"])
