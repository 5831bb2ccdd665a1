"""Stage ``compile``: float32 ONNX → static INT8 OpenVINO IR, calibrated on captures and compared with its parent."""

import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pokeflow import PokeflowError, Result, Task, progress
from pokeflow_openvino.network import FILE, FILES, FRAMEWORK, open_file, open_network, read
from pokeflow_openvino.params import CompileParams
from pokeflow_openvino.quantizer import Request
from pokeflow_vision import calibration, comparison, index, jsonfile, retrieval
from pokeflow_vision.network import ONNX, inherited_facts, model_and_data, size_mb

log = logging.getLogger(__name__)

QUANTIZED, WEIGHTED = "FakeQuantize", {"Convolution", "GroupConvolution", "MatMul"}


def run(task: Task) -> Result:
    """Quantize the task's first model; the float32 metrics are the parent's, which OpenVINO runs as well.

    ``size_mb`` and ``fp32_size_mb`` are the sizes of the networks' files, in 10^6 bytes; ``size_ratio`` is the parent's
    size divided by the new one. The others are those of ``pokeflow_vision.comparison``.
    """
    params: CompileParams = task.params
    parent, data = model_and_data(task)
    spec, source = data.preprocessing, parent.folder / ONNX
    require_quantizable(source)
    queries = data.queries_for(comparison.SPLIT, "compile")
    pictures = calibration.write(task.output, data, params.calibration_images, params.calibration_file)
    network = open_file(source, spec, 0)
    before = comparison.embeddings_of(network, data, queries, "fp32")
    domain = calibration.require_in_domain(pictures, data, network, before)

    spec.write(task.output)
    quantize(source, task.output, len(pictures), params, task.work)
    after = comparison.embeddings_of(open_network(task.output, spec, 0), data, queries, "INT8")
    metrics = comparison.compare(before, after, data, queries)
    size, fp32_size = size_mb(task.output, *FILES), size_mb(parent.folder, ONNX, f"{ONNX}[._]*")
    metrics |= {"size_mb": size, "fp32_size_mb": fp32_size, "size_ratio": fp32_size / size}

    index.write(task.output, index.build(data, after[0]))
    description = calibration.config(
        task.output,
        data,
        pictures,
        file=params.calibration_file,
        domain=domain,
        preset=params.preset,
        bias_correction=params.bias_correction,
        **calibration.host_normalization(spec),
    )
    jsonfile.write(task.output / calibration.CONFIG, description)
    facts: dict[str, Any] = {
        "quantization": f"INT8 static, preset {params.preset}, {params.bias_correction} bias correction",
        "calibration": f"{len(pictures)} pictures",
        "calibration_images": len(pictures),
        "format": "OpenVINO IR",
        "framework": FRAMEWORK,
        "compiler": f"NNCF {version('nncf')}",
        "embedding_dim": before[0].shape[1],
        "input_size": spec.size,
        "preprocessing": spec.hash,
        "protocol": retrieval.protocol(data, comparison.SPLIT),
        **inherited_facts(parent),
    }
    report = {**facts, "metrics": metrics, "operators": operators(task.output / FILE)}
    jsonfile.write(task.output / "compilation_report.json", report)
    return Result(metrics, facts)


def require_quantizable(file: Path) -> None:
    """Raise a PokeflowError for a network that is quantized, cannot be quantized or has weights that are not finite."""
    nodes = read(file).get_ops()
    kinds = {op.get_type_name() for op in nodes}
    if QUANTIZED in kinds:
        raise PokeflowError(f"{file}: is already quantized. Set its float32 parent instead.")
    if not kinds & WEIGHTED:
        raise PokeflowError(f"{file}: has no operator to quantize; it needs one of {', '.join(sorted(WEIGHTED))}.")
    for op in nodes:
        if op.get_type_name() == "Constant" and op.get_element_type().is_real() and not np.isfinite(op.data).all():
            raise PokeflowError(f"{file}: weight {op.get_friendly_name()!r} contains NaN or infinity. Train it again.")


def quantize(source: Path, folder: Path, pictures: int, params: CompileParams, work: Path) -> None:
    """Write ``source`` as INT8 into the folder that holds the calibration set and its preprocessing.

    Args:
        source: The float32 network.
        folder: Folder with the calibration set, which receives the network.
        pictures: Number of pictures in the calibration set, for the progress bar.
        params: Preset and bias correction.
        work: Folder for temporary files.

    """
    request = Request(str(source), str(folder), params.preset, params.bias_correction == "accurate")
    # -P: no module is imported from the current folder.
    command = [sys.executable, "-P", "-m", "pokeflow_openvino.quantizer", request.dump()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
    with (
        tempfile.TemporaryFile("w+", dir=work, encoding="utf-8", errors="replace") as output,
        progress.bar("calibrating", pictures) as advance,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment) as process,
    ):
        assert process.stdout is not None  # it is piped
        try:
            for _ in process.stdout:
                advance()
        except BaseException:
            process.kill()
            raise
        code = process.wait()
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    log.debug("NNCF: %s", "\n".join(lines))
    if code < 0:
        raise PokeflowError(
            f"{source}: signal {-code} ended NNCF; the machine may be out of memory. Run the same command again."
        )
    if code:
        raise PokeflowError(f"{source}: NNCF cannot quantize it ({lines[-1] if lines else f'exit code {code}'}).")
    if not operators(folder / FILE).get(QUANTIZED):
        raise PokeflowError(f"{source}: no operator was quantized. Export it again.")


def operators(file: Path) -> dict[str, int]:
    """Return the number of times that each operator type occurs in a network."""
    return dict(sorted(Counter(op.get_type_name() for op in read(file).get_ops()).items()))
