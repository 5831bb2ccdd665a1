"""Results of PyTorch's profiler: the trace, a table of operators, and the allocated memory over time."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

TRACE = "trace.json.gz"
POINTS = 2000
"""Largest number of rows of allocated memory; a trace's allocations are thinned out to it, as charts show fewer."""


def profiler(device: torch.device) -> profile:
    """Create a profiler of the processor, and of the GPU if ``device`` is one."""
    # Otherwise its C++ part logs each stage, and a missing GPU, to the terminal.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    return profile(activities=activities, record_shapes=True, profile_memory=True)


def write(profile_: profile, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Write the trace (for chrome://tracing or Perfetto) to ``folder``; return rows of operators and of memory."""
    profile_.export_chrome_trace(str(folder / TRACE))
    return operators(profile_), memory(folder / TRACE)


def operators(profile_: profile) -> list[dict[str, Any]]:
    """Return one row per operator, sorted by descending self time.

    The self time is that on the device, or on the processor if the device was not used; ``share`` is its share in
    the self time of all operators. Times are in milliseconds, memory in megabytes.
    """
    rows = []
    for event in profile_.key_averages():
        if event.key.startswith(("step/", "ProfilerStep", "[memory]")):
            continue
        rows.append(
            {
                "operator": event.key,
                "calls": int(event.count),
                "self_cpu_ms": event.self_cpu_time_total / 1000,
                "cpu_ms": event.cpu_time_total / 1000,
                "self_device_ms": event.self_device_time_total / 1000,
                "device_ms": event.device_time_total / 1000,
                "self_cpu_memory_mb": event.self_cpu_memory_usage / 1e6,
                "self_device_memory_mb": event.self_device_memory_usage / 1e6,
            }
        )
    key = "self_device_ms" if any(row["self_device_ms"] for row in rows) else "self_cpu_ms"
    total = sum(row[key] for row in rows) or 1.0
    rows = [{**row, "share": row[key] / total} for row in rows]
    return sorted(rows, key=lambda row: (-row[key], row["operator"]))


def memory(trace: Path) -> list[dict[str, float]]:
    """Read the allocated memory after each allocation from a trace, thinned out to ``POINTS`` rows.

    Returns:
        Rows of ``time`` in seconds since the first, ``device`` (−1 is the processor) and ``allocated_mb``.

    """
    with gzip.open(trace, "rt", encoding="utf-8") as text:
        events = json.load(text)["traceEvents"]
    rows = []
    for event in events:
        if event.get("name") == "[memory]" and "Total Allocated" in event.get("args", {}):
            args = event["args"]
            # −1 is how PyTorch numbers the processor's memory.
            device = float(args["Device Id"]) if args.get("Device Type") else -1.0
            rows.append({"time": event["ts"] / 1e6, "device": device, "allocated_mb": args["Total Allocated"] / 1e6})
    rows.sort(key=lambda row: row["time"])
    start = rows[0]["time"] if rows else 0.0
    return [{**row, "time": row["time"] - start} for row in rows[:: max(1, -(-len(rows) // POINTS))]]
