"""A target that keeps the contract, except for the fault in its parameters; it rounds weights to 8 bits."""

import dataclasses
import json
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokeflow import Backend, PokeflowError, Result, Task, UnavailableError, hookimpl
from pokeflow_vision import benchmark, calibration, dataset, index
from pokeflow_vision.network import ONNX, gallery, model_and_data, model_input, size_mb

if os.environ.get("FAULTY_HEAVY"):
    import numpy  # noqa: F401 - the fault itself


@dataclass(frozen=True, slots=True)
class CompileParams:
    fault: str | None = None
    calibration_images: int = 32


@dataclass(frozen=True, slots=True)
class BenchmarkParams:
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class PackageParams:
    adapter: str = ""


@dataclass
class ThawedParams:
    fault: str | None = None
    calibration_images: int = 32


@dataclass(frozen=True)
class ObjectParams:
    fault: str | None = None
    calibration_images: int = 32
    anything: Any = None


@dataclass(frozen=True, slots=True)
class LooseParams:
    options: dict[str, int] = dataclasses.field(default_factory=dict)
    fault: str | None = None
    calibration_images: int = 32


def round_weights(source: Path, levels: int) -> bytes:
    """Return the network with the weights of each tensor rounded to so many levels."""
    import numpy as np
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        model = onnx.load(source)
        onnx.checker.check_model(model)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise PokeflowError(f"{source}: no network ({error}). Export it again.") from error
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        step = np.abs(values).max() / levels or 1
        tensor.CopyFrom(numpy_helper.from_array((np.round(values / step) * step).astype(np.float32), tensor.name))
    return bytes(model.SerializeToString())


def compile(task: Task) -> Result:  # noqa: PLR0912 - a branch a fault
    from pokeflow_faulty import network, swapped

    fault, half = task.params.fault, task.work / "half.txt"
    resumed = half.exists()
    half.write_text("begun")
    if fault == "unavailable":
        raise UnavailableError("no compiler here. Install the faulty compiler 2.0.")
    if fault == "unavailable without a sentence":
        raise UnavailableError("E42")
    if fault == "unavailable and torn":
        (task.output / "preprocessing.json").write_text("{")
        raise UnavailableError("no compiler here. Install the faulty compiler 2.0.")
    if fault == "takes any preprocessing":
        parent, data = model_input(task), dataset.read(task.input(stage="prepare").folder)
    else:
        parent, data = model_and_data(task)
    source, target = parent.folder / ONNX, task.output / network.FILE
    if fault == "traceback" and source.exists() and b"no network" in source.read_bytes():
        raise ValueError("boom")
    if fault == "takes an empty file" and source.exists() and not source.read_bytes():
        return Result()
    if fault == "calibrates on nothing" and not data.queries_of("calibration"):
        return Result()
    shown = calibration.write(task.output, data, task.params.calibration_images)
    described = calibration.config(
        task.output, data, shown, normalized_by="the host", network_input={}, domain={}, reasons={}
    )
    if fault == "wrong checksum":
        described["sha256"] = "0" * 64
    (task.output / calibration.CONFIG).write_text(json.dumps(described))
    target.write_bytes(round_weights(source, 1 if fault == "rounds to signs" else 127))
    opener = swapped.open_network if fault == "swaps colours" else network.open_network
    opened = opener(task.output, data.preprocessing, 1)
    try:
        built = gallery(opened, data)
    except PokeflowError:
        if fault != "takes NaN":
            raise
        return Result()
    if fault == "drops a card":
        rows = {field.name: getattr(built, field.name) for field in dataclasses.fields(built)}
        built = index.Index(**{n: row[1:] if hasattr(row, "shape") else row for n, row in rows.items()})
    if fault != "no index":
        index.write(task.output, built)
    if fault != "no preprocessing":
        data.preprocessing.write(task.output)
    if fault == "no model":
        target.unlink()
    if fault == "no calibration kept":
        (task.output / calibration.CONFIG).unlink()
    if fault == "writes the time":
        (task.output / "notes.txt").write_text(uuid.uuid4().hex)
    if fault == "depends on the process":
        (task.output / "notes.txt").write_text(str(os.getppid()))
    if fault == "goes on from half":
        (task.output / "notes.txt").write_text(str(resumed))
    if fault == "fails":
        raise RuntimeError("boom")
    if fault == "writes where it is":
        Path("dump.txt").write_text("here")
    if fault == "leaves temporary files":
        tempfile.mkstemp(prefix="sdk")
    if fault == "changes its inputs":
        (parent.folder / "cache.bin").write_text("mine")
    metrics = {"size_mb": float("nan") if fault == "tells NaN" else 0.1}
    facts = {"calibration_images": len(shown)} | ({"simulated": True} if fault == "simulates" else {})
    return Result(metrics, facts)


def measure(task: Task) -> Result:
    from pokeflow_faulty import network, swapped

    fault = task.params.fault
    if fault == "unavailable":
        raise UnavailableError("no device here. Plug one in.")
    if fault == "fails":
        model_and_data(task)
        raise RuntimeError("boom")
    if fault == "takes any preprocessing":
        model, data = model_input(task), dataset.read(task.input(stage="prepare").folder)
        folder = task.work / "model"
        shutil.copytree(model.folder, folder, dirs_exist_ok=True)
        data.preprocessing.write(folder)
        task = dataclasses.replace(task, inputs=(dataclasses.replace(model, folder=folder), *task.inputs[1:]))
    task = dataclasses.replace(task, params=benchmark.BenchmarkParams(runs=100, warmup=1, max_seconds=5.0))
    opener = swapped.open_network if fault == "forgets the accuracy" else network.open_network
    result = benchmark.run(task, opener, framework="faulty", size_mb=lambda folder: size_mb(folder, network.FILE))
    metrics, reasons, file = dict(result.metrics), dict(result.reasons), task.output / benchmark.FILE
    if fault == "forgets the accuracy":
        metrics["top1_accuracy"] = 0.5
    if fault == "tells no p99":
        del metrics["latency_p99_ms"]
    if fault == "tells seconds for milliseconds":
        metrics["latency_p50_ms"] = (metrics["latency_p50_ms"] or 0) / 1000
    if fault == "gives no reason":
        del reasons["power_w"]
    if fault == "gives no source":
        content = json.loads(file.read_text())
        del content["sources"]["size_mb"]
        file.write_text(json.dumps(content))
    if fault == "keeps no runs":
        (task.output / "latencies.csv").write_text("what,batch,run,milliseconds\n")
    if fault == "leaves no gallery":
        (task.output / index.FILE).unlink()
    facts = {**result.facts} | ({"simulated": True} if fault == "simulates" else {})
    return Result(metrics, facts, reasons)


def pack(task: Task) -> Result:
    if task.params.adapter == "fails":
        raise RuntimeError("boom")
    (task.output / "bundle.txt").write_text(task.params.adapter)
    return Result()


@hookimpl
def pokeflow_backends() -> list[Backend]:
    return [
        Backend("faulty", "compile", compile, CompileParams),
        Backend("faulty-thawed", "compile", compile, ThawedParams),
        Backend("faulty-object", "compile", compile, ObjectParams),
        Backend("faulty-loose", "compile", compile, LooseParams),
        Backend("faulty", "benchmark", measure, BenchmarkParams),
        Backend("faulty", "package", pack, PackageParams, terminal=True),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_faulty.conf"
