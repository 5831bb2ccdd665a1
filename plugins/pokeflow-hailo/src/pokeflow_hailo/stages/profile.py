"""Stage ``profile``: speed and size figures of a HEF, each with its source; no figure is estimated here."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pokeflow import Input, PokeflowError, Result, Task
from pokeflow_hailo import figures, hef, host
from pokeflow_hailo.device import chip, measured, readings
from pokeflow_hailo.figures import Figure
from pokeflow_vision import jsonfile, preprocessing
from pokeflow_vision.network import model_input

if TYPE_CHECKING:
    from pokeflow_hailo.params import ProfileParams

FILE = "profiling_results.json"
COMPILER_FILE = "dfc_profile.json"
MAX_PROFILE = 64 << 20
MAX_FIGURES = 400
"""Figures of the compiler's estimate that the report lists; ``dfc_profile.json`` has all of them."""


def run(task: Task) -> Result:
    """Gather the figures of the task's HEF from its header, its compiler's profiler and, if one is named, a device.

    Returns:
        ``size_mb`` and, with a device, the figures measured on it. ``profiling_results.json`` has the rest.

    Raises:
        UnavailableError: If the named device has no chip or no HailoRT.

    """
    params: ProfileParams = task.params
    model = model_input(task)
    spec = preprocessing.read(model.folder)
    file = hef.find_hef(model)
    header_figures = header(file)
    estimated, simulated = estimate(model)
    on_chip: dict[str, Figure] = {}
    facts: dict[str, Any] = {"preprocessing": spec.hash}
    description: Mapping[str, Any] = {"reason": "no device is named (target.profile.params.device)"}
    report = {
        "hef": figures.to_dicts(header_figures),
        "compiler": figures.to_dicts(estimated),
        "device": {},
        "about_device": description,
    }
    jsonfile.write(task.output / FILE, report)
    if params.device is not None:
        # The content of the pictures does not influence the timing.
        squares = np.random.default_rng(0).integers(0, 256, (1, spec.size, spec.size, 3), np.uint8)
        with chip.open_chip(params.device, params.python, file) as device:
            measurement = device.time(
                squares, runs=params.runs, warmup=10, batch_sizes=(1, 8), max_seconds=params.max_seconds
            )
        on_chip, description = measured.figures(measurement, simulated=device.simulated), dict(device.about)
        facts |= {"device": device.device, "framework": device.framework, "runs": len(measurement.latencies)}
        simulated = simulated or device.simulated
    jsonfile.write(task.output / FILE, {**report, "device": figures.to_dicts(on_chip), "about_device": description})
    values, reasons = figures.metrics({"size_mb": header_figures["size_mb"], **on_chip})
    facts["sources"] = {name: "device" if name in on_chip else "file" for name in values}
    return Result(values, facts | ({"simulated": True} if simulated else {}), reasons)


def header(file: Path) -> dict[str, Figure]:
    """Return the figures in the header of a HEF; contexts and streams need ``hailortcli`` on this machine."""
    parsed = hef.read(file)
    result = {
        "architecture": Figure(parsed.architecture, "", "hef_metadata", "its header"),
        "compiler_version": Figure(parsed.compiler_version, "", "hef_metadata", "its header", "it wrote none"),
        "container_version": Figure(parsed.version, "", "hef_metadata", "its header"),
        "timestamp": Figure(parsed.timestamp, "", "hef_metadata", "its header", "it wrote none"),
        "size_mb": Figure(parsed.size / 1e6, "MB", "file", "bytes of the HEF"),
    }
    network, reason = _parse_hef(file)
    for name in ("network", "contexts", "inputs", "outputs"):
        result[name] = Figure(network.get(name), "", "hef_metadata", "hailortcli parse-hef", reason)
    return result


def _parse_hef(file: Path) -> tuple[dict[str, Any], str]:
    if shutil.which("hailortcli") is None:
        return {}, "hailortcli is not installed on this machine"
    with host.open_host() as machine:
        machine.put(file, "model.hef")
        code, output = machine.output(["hailortcli", "parse-hef", "model.hef"])
    try:
        return readings.parse_hef(output), ""
    except ValueError as error:
        return {}, f"{error} (exit {code}: {output[-200:].strip()})"


def estimate(model: Input) -> tuple[dict[str, Figure], bool]:
    """Return the figures of the compiler's profiler under its own names, and whether a simulator produced them."""
    file = model.folder / COMPILER_FILE
    if not file.is_file():
        reason_text = f"the compiled model has no {COMPILER_FILE}"
        return {"profile": Figure(None, "", "dfc_estimate", reason=reason_text)}, False
    try:
        if file.stat().st_size > MAX_PROFILE:
            raise ValueError(f"{file.stat().st_size:,} bytes exceed the limit of a profile")
        document = json.loads(file.read_text(encoding="utf-8"))
        simulated = bool(document["simulated"])
        profile, reason = (
            document["profile"],
            str(document.get("reason") or "the compiler's profiler returned no result"),
        )
        if profile is not None and not isinstance(profile, dict):
            raise TypeError("its profile is not a mapping")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PokeflowError(f"{file}: not a compiler's profile ({error!r}). Compile the model again.") from error
    if profile is None:
        return {"profile": Figure(None, "", "dfc_estimate", reason=reason, simulated=simulated)}, simulated
    how = f"the profiler of compiler {document.get('compiler')}, which names no units"
    flat = {name: profile[name] for name in ("stats", "latency_data") if name in profile}
    listed = {
        name: Figure(value, "", "dfc_estimate", how, simulated=simulated)
        for name, value in list(_numbers(flat))[:MAX_FIGURES]
    }
    reason_text = "the profiler's result has no figures under stats and latency_data"
    return listed or {"profile": Figure(None, "", "dfc_estimate", how, reason_text, simulated)}, simulated


def _numbers(value: Any, path: str = "") -> Any:
    """Yield (dotted path, number) for every number in nested mappings and lists."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _numbers(inner, f"{path}.{at}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
