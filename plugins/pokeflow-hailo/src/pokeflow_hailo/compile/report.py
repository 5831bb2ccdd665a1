"""Reports in the folder of a HEF: its configuration, its accuracy loss, and the source of every figure."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pokeflow import PokeflowError, Result, digest
from pokeflow_hailo import hef
from pokeflow_hailo.compile import emulation, script
from pokeflow_hailo.compile.reference import FRAMEWORK
from pokeflow_hailo.compile.work import PreparedModel
from pokeflow_hailo.figures import no_constant
from pokeflow_hailo.hef import Header
from pokeflow_vision import comparison, jsonfile, retrieval
from pokeflow_vision.network import inherited_facts

if TYPE_CHECKING:
    from pokeflow_hailo.compile.toolchain import CompilerOutput, Toolchain
    from pokeflow_vision.comparison import Embeddings

log = logging.getLogger("pokeflow")

CONFIG, REPORT, PROFILE = "hailo_config.yaml", "compilation_report.json", "dfc_profile.json"
COMPILER = "Hailo Dataflow Compiler"


def write_config(work: PreparedModel, compiler: "Toolchain | None", reason: str) -> None:
    """Write ``hailo_config.yaml``, all inputs of the HEF; an unknown compiler version is null with a ``reason``."""
    spec, params = work.data.preprocessing, work.params
    levels = params.script.levels
    mean, std = script.normalization(spec)
    version = compiler.version if compiler else None
    config: dict[str, Any] = {
        "hw_arch": params.hw_arch,
        "compiler": {"name": COMPILER, "version": version}
        | ({} if version else {"reason": reason or "the compiler does not say its version"}),
        "network": {
            "file": work.file(".onnx").name,
            "sha256": digest.sha256(work.file(".onnx")),
            "opset": work.graph.opset,
            "made_by": work.parent.record.task,
        },
        "script": {
            "file": work.file(".alls").name,
            "preset": params.script.preset,
            "optimization_level": levels.optimization,
            "compression_level": levels.compression,
            "compiler_effort": levels.effort,
            "commands": work.script.splitlines(),
        },
        "layers": {
            "precision": dict(params.script.precision),
            "double_scale": list(params.script.double_scale),
            "others": "a8_w8",
        },
        "normalization": {"by": "the chip", "range": [0, 255], "mean": mean, "std": std},
        "calibration": {name: work.calibration[name] for name in ("file", "sha256", "count", "preprocessing")},
        "input": {"name": "image", "layout": "NHWC", "channels": "RGB", "dtype": "uint8", "shape": _input(work)},
        "output": {
            "name": "embedding",
            "layout": "NC",
            "dtype": "float32, dequantized by HailoRT",
            "shape": [1, work.graph.dim],
            "scaled_to_length_1_by": "the host",
        },
        "preprocessing": spec.hash,
        "simulated": bool(compiler and compiler.simulated),
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    (work.task.output / CONFIG).write_text(text, encoding="utf-8")


def _input(work: PreparedModel) -> list[int]:
    size = work.data.preprocessing.size
    return [1, size, size, 3]


def write_report(
    work: PreparedModel,
    compiler: "Toolchain",
    header: Header,
    runs: "tuple[CompilerOutput, CompilerOutput]",
    embeddings: "Mapping[str, Embeddings]",
) -> Result:
    """Write ``compilation_report.json`` and return the task's result.

    Args:
        work: The prepared model, its task and parameters.
        compiler: The compiler.
        header: Header of the compiled HEF.
        runs: Results of the optimization and of the compilation.
        embeddings: Embeddings by stage of the emulator.

    """
    metrics = figures(work, embeddings)
    log_summary = runs[0].summary
    effective = {
        "optimization_level": work.requested.optimization_level
        if log_summary.optimization_level is None
        else log_summary.optimization_level,
        "compression_level": work.requested.compression_level
        if log_summary.compression_level is None
        else log_summary.compression_level,
        "calibration_images": log_summary.calibration_images,
    }
    facts: dict[str, Any] = {
        "quantization": f"INT8, Hailo optimization level {effective['optimization_level']}",
        "calibration": f"{work.requested.calibration_images} pictures, normalized on the chip",
        "calibration_images": work.requested.calibration_images,
        "format": "HEF",
        "framework": f"{COMPILER} {compiler.version}" if compiler.version else COMPILER,
        "target_hardware": hef.NAMES[work.params.hw_arch],
        "hw_arch": header.architecture,
        "embedding_dim": work.graph.dim,
        "input_size": work.data.preprocessing.size,
        "preprocessing": work.data.preprocessing.hash,
        "protocol": retrieval.protocol(work.data, comparison.SPLIT),
        **inherited_facts(work.parent),
    }
    if compiler.simulated:
        facts["simulated"] = True
    report = {
        **facts,
        "metrics": metrics,
        "reasons": _unknown_levels(effective),
        "sources": sources(metrics, work),
        "requested": {
            "optimization_level": work.requested.optimization_level,
            "compression_level": work.requested.compression_level,
            "calibration_images": work.requested.calibration_images,
        },
        "effective": effective,
        "effective_by": "the compiler's log; a level without a logged reduction is the requested one",
        "lowered_because": log_summary.because,
        "allow_downgrade": work.params.allow_downgrade,
        "algorithms": dict(log_summary.algorithms),
        "compiler": {**compiler.about, "log_version": log_summary.version},
        "hef": {
            "architecture": header.architecture,
            "compiler_version": header.compiler_version,
            "compiler_version_as_asked": same_version(header.compiler_version, compiler.version),
            "container": header.version,
            "timestamp": header.timestamp,
            "sha256": digest.sha256(work.file(".hef")),
        },
        "seconds": {name: value for run in runs for name, value in run.seconds.items()},
        "warnings": [line for run in runs for line in run.summary.warnings],
        "operators": work.graph.operators,
        "opset": work.graph.opset,
        "simulated": compiler.simulated,
    }
    if report["hef"]["compiler_version_as_asked"] is False:
        log.warning("  hailo: the HEF names compiler %s, but %s was used", header.compiler_version, compiler.version)
    jsonfile.write(work.task.output / REPORT, report)
    return Result(metrics, facts)


def write_profile(work: PreparedModel, compiler: "Toolchain", file: Path) -> None:
    """Write ``dfc_profile.json``: the compiler's estimate with its source, or null with a reason if it failed."""
    try:
        estimate = json.loads(file.read_text(encoding="utf-8"), parse_constant=no_constant)
        profile = {"profile": estimate["profile"], "reason": estimate["reason"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PokeflowError(
            f"{file.name}: not a valid output of the profiler ({error!r}). Run the same command again."
        ) from error
    provenance = {"source": "dfc_estimate", "compiler": compiler.version, "simulated": compiler.simulated}
    jsonfile.write(work.task.output / PROFILE, {**profile, **provenance})


def figures(work: PreparedModel, embeddings: "Mapping[str, Embeddings]") -> dict[str, float]:
    """Return the quantized network's figures, and those of the stages before it prefixed with the stage's name."""
    metrics: dict[str, float] = {}
    for stage in reversed(emulation.STAGES):  # the quantized network, which runs on the chip, comes first
        comparison_metrics = comparison.compare(work.before, embeddings[stage], work.data, work.queries)
        if stage == "quantized":
            metrics |= comparison_metrics
        else:
            names = ("cosine_to_parent", "cosine_to_parent_min", "top1_accuracy")
            metrics |= {f"{stage}_{name}": comparison_metrics[name] for name in names}
    size, before = (work.file(end).stat().st_size / 1e6 for end in (".hef", ".onnx"))
    metrics |= {"size_mb": size, "fp32_size_mb": before, "size_ratio": before / size}
    return metrics


def sources(metrics: Mapping[str, float], work: PreparedModel) -> dict[str, str]:
    """Return the source of each figure."""
    pictures = f"on {len(work.queries)} {comparison.SPLIT} queries, against {FRAMEWORK} on the float32 network"
    stages = {
        "native": "SDK_NATIVE, the parsed network; gallery: the float32 network's",
        "fp_optimized": "SDK_FP_OPTIMIZED, rewritten in floats; gallery: the float32 network's",
    }
    source_of = {}
    for name in metrics:
        stage = next((stage for stage in stages if name.startswith(f"{stage}_")), "")
        if "size" in name:
            source_of[name] = "counted: bytes of the HEF, or of the source ONNX file"
        elif name == "top1_accuracy_fp32":
            source_of[name] = f"counted: answers of {FRAMEWORK} to the {comparison.SPLIT} queries"
        else:
            emulated = stages.get(stage, "SDK_QUANTIZED, the chip's integers; gallery: its own")
            source_of[name] = f"dfc_emulator: {emulated}; {pictures}"
    return source_of


def same_version(first: str | None, second: str | None) -> bool | None:
    """Return whether two versions are of the same release (3.33.0, 3.33.0+build), or None if one is unknown."""
    if first is None or second is None:
        return None
    return first.split("+")[0].split(".")[:3] == second.split("+")[0].split(".")[:3]


def _unknown_levels(effective: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"effective.{name}": "the compiler's log does not say" for name, value in effective.items() if value is None
    }
