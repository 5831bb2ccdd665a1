"""What was measured on a chip, as figures: benchmark and profile tell the same ones in the same way."""

from typing import Any

import numpy as np

from pokeflow.images.benchmark import PERCENTILES
from pokeflow_hailo.device import readings
from pokeflow_hailo.device.chip import Measured
from pokeflow_hailo.figures import Figure


def figures(measured: Measured, *, simulated: bool) -> dict[str, Figure]:
    """``latency_pNN_ms`` of single frames, ``hw_latency_ms``, ``throughput_fps_batchN``, temperature and power."""
    told: dict[str, Figure] = {}

    def add(name: str, value: float | None, unit: str, how: str, reason: str = "") -> None:
        told[name] = Figure(value, unit, "device", how, reason, simulated)

    runs = len(measured.latencies)
    for percent, least in PERCENTILES.items():
        value = float(np.percentile(measured.latencies, percent)) if runs >= least else None
        reason = f"{runs} runs were made; {least} or more are needed for this percentile"
        add(f"latency_p{percent}_ms", value, "ms", "own loop, a frame at a time, from Python and back", reason)
    value, reason = said(measured, "latency", "hw_latency")
    add("hw_latency_ms", value, "ms", "hailortcli run --measure-latency, an average on the chip alone", reason)
    for one in measured.passes:
        how = f"own loop, batches of {one.batch}, several under way"
        add(f"throughput_fps_batch{one.batch}", one.throughput, "1/s", how)
    hottest = max(measured.temperatures, default=None)
    add("temperature_c_max", hottest, "°C", "the chip's hotter sensor", measured.temperature_reason or "it gave none")
    power, how, reason = measured.power_w, "the board's sensor, averaged while throughput was measured", ""
    if power is None:
        reason = measured.power_reason
        if "power" in measured.said:
            power, why = said(measured, "power", "average_power")
            how, reason = "hailortcli run --measure-power, an average", f"{reason}; {why}"
    add("power_w", power, "W", how, reason)
    return told


def said(measured: Measured, asked: str, column: str) -> tuple[float | None, str]:
    """A column of what ``hailortcli run`` was asked for, or None and why."""
    told: Any = measured.said.get(asked)
    if not isinstance(told, dict):
        return None, str(measured.said.get("reason", "hailortcli was not asked"))[:500]
    try:
        value = readings.run_csv(str(told.get("csv", "")))[column]
    except ValueError as error:
        return None, f"{error} (exit {told.get('exit')!r}: {str(told.get('said', ''))[-200:].strip()})"[:500]
    return (value, "") if value is not None else (None, f"hailortcli left {column} empty")
