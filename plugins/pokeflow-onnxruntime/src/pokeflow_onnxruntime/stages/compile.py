"""Stage ``compile``: float32 ONNX → static INT8 ONNX, calibrated on captures and compared with its parent."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from pokeflow import PokeflowError, Result, Task, progress
from pokeflow_onnxruntime.network import FILE, FILES, FRAMEWORK, INPUT, open_network
from pokeflow_onnxruntime.params import CompileParams
from pokeflow_vision import calibration, comparison, index, jsonfile, preprocessing, retrieval
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import inherited_facts, model_and_data, size_mb
from pokeflow_vision.preprocessing import Preprocessing

log = logging.getLogger(__name__)

METHODS = {
    "percentile": CalibrationMethod.Percentile,
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
}
MIN_OPSET = 13
"""First opset with per-channel QuantizeLinear."""
WEIGHTED = {"Conv", "Gemm", "MatMul"}


def run(task: Task) -> Result:
    """Quantize the task's first model.

    ``size_mb`` and ``fp32_size_mb`` are the sizes of the networks' files, in 10^6 bytes; ``size_ratio`` is the parent's
    size divided by the new one. ``cosine_to_parent`` (mean), ``cosine_to_parent_min`` and ``top1_agreement`` compare
    both networks on the same val queries, each against its own references. ``accuracy_drop`` is a difference of
    fractions, not of per cent.
    """
    params: CompileParams = task.params
    parent, data = model_and_data(task)
    spec = data.preprocessing
    source, target = parent.folder / FILE, task.output / FILE
    opset = require_quantizable(source)
    queries = data.queries_for(comparison.SPLIT, "compile")
    pictures = calibration.write(task.output, data, params.calibration_images, params.calibration_file)
    # Before the calibration, which takes longest: a network that cannot be run is refused at once.
    network = open_network(parent.folder, spec, 0)
    before = comparison.embeddings_of(network, data, queries, "fp32")
    domain = calibration.require_in_domain(pictures, data, network, before)

    with progress.bar("calibrating", len(pictures)) as advance:
        quantize(source, target, Pictures(pictures, spec, params.batch_size, advance), params, task.work)
    after = comparison.embeddings_of(open_network(task.output, spec, 0), data, queries, "INT8")
    metrics = comparison.compare(before, after, data, queries)
    size, fp32_size = size_mb(task.output, *FILES), size_mb(parent.folder, *FILES)
    metrics |= {"size_mb": size, "fp32_size_mb": fp32_size, "size_ratio": fp32_size / size}

    spec.write(task.output)
    index.write(task.output, index.build(data, after[0]))
    jsonfile.write(task.output / calibration.CONFIG, calibration_config(task.output, data, pictures, domain, params))
    scheme = f"INT8 static QDQ U8S8 {'per-channel' if params.per_channel else 'per-tensor'}"
    facts: dict[str, Any] = {
        "quantization": scheme + (", 7-bit weights" if params.reduce_range else ""),
        "calibration": f"{params.method}, {len(pictures)} pictures",
        "calibration_images": len(pictures),
        "format": "ONNX",
        "framework": FRAMEWORK,
        "embedding_dim": before[0].shape[1],
        "input_size": spec.size,
        "preprocessing": spec.hash,
        "protocol": retrieval.protocol(data, comparison.SPLIT),
        **inherited_facts(parent),
    }
    report = {**facts, "metrics": metrics, "operators": operators(target), "opset": opset}
    jsonfile.write(task.output / "compilation_report.json", report)
    return Result(metrics, facts)


def require_quantizable(file: Path) -> int:
    """Return a network's opset; raise a PokeflowError unless it is valid float32 ONNX that can be quantized."""
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Create its model again.")
    try:
        onnx.checker.check_model(file)
        model = onnx.load(file)
    except (onnx.checker.ValidationError, DecodeError, ValueError, OSError) as error:
        raise PokeflowError(f"{file}: not a valid ONNX network ({error}). Export it again.") from error
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise PokeflowError(
            f"{file}: has opset {opset}, but per-channel INT8 needs {MIN_OPSET} or later. Export it with opset 17."
        )
    kinds = {node.op_type for node in model.graph.node}
    if "QuantizeLinear" in kinds:
        raise PokeflowError(f"{file}: is already quantized. Set its float32 parent instead.")
    if not kinds & WEIGHTED:
        raise PokeflowError(f"{file}: has no operator to quantize; it needs one of {', '.join(sorted(WEIGHTED))}.")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor, base_dir=str(file.parent))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise PokeflowError(f"{file}: weight {tensor.name!r} contains NaN or infinity. Train it again.")
    return int(opset)


class Pictures(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Reader of calibration pictures for the quantizer: in ranges of batches, one batch in memory at a time.

    The batches of a range must be of equal length, because histograms of unequal ones fail; so a shorter last batch
    is in a range of its own.
    """

    def __init__(
        self, images: "np.ndarray", spec: Preprocessing, batch: int, advance: Callable[..., None] = lambda n: None
    ) -> None:
        self._images, self._spec, self.advance = images, spec, advance
        self._batches = [range(len(images))[i : i + batch] for i in range(0, len(images), batch)]
        self._remaining: Iterator[range] = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Select the batches that ``get_next`` returns."""
        self._remaining = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, "np.ndarray"] | None:
        """Return the next batch of the range as the network's input, float32 n×3×size×size; None at the end."""
        rows = next(self._remaining, None)
        if rows is None:
            return None
        self.advance(len(rows))
        return {INPUT: preprocessing.normalize(self._images[list(rows)], self._spec)}


def quantize(source: Path, target: Path, pictures: Pictures, params: CompileParams, work: Path) -> None:
    """Quantize a network to static INT8.

    Args:
        source: The float32 network, an ONNX file.
        target: The file to write.
        pictures: Reader of the calibration pictures.
        params: Method of calibration and form of the weights.
        work: Folder for intermediate files, which are removed afterwards.

    Raises:
        PokeflowError: If no operator was quantized.

    """
    with tempfile.TemporaryDirectory(dir=work) as name, _third_party(Path(name)):
        clean = Path(name) / FILE
        # Symbolic shape inference is for transformers and needs sympy; convolutional networks do not need it.
        quant_pre_process(source, clean, skip_symbolic_shape=True)
        quantize_static(
            clean,
            target,
            pictures,
            quant_format=QuantFormat.QDQ,
            per_channel=params.per_channel,
            reduce_range=params.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[params.method],
            # Ranges are merged after each batch: without a stride, all activations of all images stay in memory.
            extra_options={"CalibPercentile": params.percentile, "CalibStridedMinMax": 1},
        )
    if not operators(target).get("QuantizeLinear"):
        raise PokeflowError(
            f"{source}: no operator was quantized, because its shapes cannot be inferred. Export it again."
        )


@contextlib.contextmanager
def _third_party(folder: Path) -> Iterator[None]:
    """Keep onnxruntime's temporary files in ``folder``, its prints and notes off the terminal, its log(0) silent."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    # It notes each adjusted scale with the root logger; a filter of a logger sees only what is logged with it.
    logging.root.addFilter(_demote)
    try:
        with contextlib.redirect_stdout(_Lines()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"onnxruntime\.quantization\.")
            yield
    finally:
        logging.root.removeFilter(_demote)
        tempfile.tempdir = before


def _demote(record: logging.LogRecord) -> bool:
    """Log a record of the root logger again as one of this module, at level debug."""
    log.debug("%s", record.getMessage())
    return False


class _Lines(io.TextIOBase):
    """Replacement for stdout that writes to the log."""

    def write(self, text: str) -> int:
        if text.strip():
            log.debug("onnxruntime: %s", text.strip())
        return len(text)


def operators(file: Path) -> dict[str, int]:
    """Return the number of times that each operator type occurs in a network."""
    model = onnx.load(file, load_external_data=False)
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def calibration_config(
    folder: Path, data: Dataset, pictures: "np.ndarray", domain: Mapping[str, float], params: CompileParams
) -> dict[str, Any]:
    """Return the description of the calibration: the values common to all targets, and this target's method."""
    uses_percentile = params.method == "percentile"
    return calibration.config(
        folder,
        data,
        pictures,
        file=params.calibration_file,
        domain=domain,
        reasons={} if uses_percentile else {"percentile": f"the method {params.method} does not use it"},
        method=params.method,
        percentile=params.percentile if uses_percentile else None,
        batch_size=params.batch_size,
        **calibration.host_normalization(data.preprocessing),
    )
