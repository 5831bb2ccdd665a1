"""The one class that pokeflow uses, with the publicly known signatures only."""

import base64
import contextlib
import enum
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hef_bytes
import numpy as np

from hailo_sdk_client import failures, modelscript, parser
from hailo_sdk_client.failures import BackendValueError, MisspellNodeError, UnsupportedModelError

ARCHITECTURES = ("hailo8", "hailo8l", "hailo8r")
ORDER = ("new", "parsed", "full precision", "quantized", "compiled")


class InferenceContext(enum.Enum):
    SDK_NATIVE = "native"
    SDK_FP_OPTIMIZED = "fp_optimized"
    SDK_QUANTIZED = "quantized"
    SDK_HAILO_HW = "hw"


class CalibrationDataType(enum.Enum):
    auto = "auto"


def say(text: str) -> None:
    print(text, flush=True)


class ClientRunner:
    def __init__(self, *, hw_arch: str | None = None, har: str | None = None) -> None:
        if hw_arch is not None and hw_arch not in ARCHITECTURES:
            raise BackendValueError(f"Unknown hw_arch {hw_arch!r}")
        # The real one defaults to hailo8; the double has no default, so that none is relied on.
        self._hw_arch, self._state, self._script, self._onnx, self._name = hw_arch, "new", "", b"", ""
        if har is not None:
            self.load_har(har)
        if self._hw_arch is None:
            raise BackendValueError("hw_arch is not given, and no HAR says it")
        self._active: object | None = None

    def _require(self, call: str, *states: str) -> None:
        if self._state not in states:
            raise BackendValueError(f"{call} after state {self._state!r}; needs one of {states}")
        failures.at(call)

    def translate_onnx_model(
        self,
        model: str,
        net_name: str,
        start_node_names: list[str] | None = None,
        end_node_names: list[str] | None = None,
        net_input_shapes: dict[str, list[int]] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self._require("translate_onnx_model", "new")
        if not isinstance(model, str) or not re.fullmatch(r"\w+", net_name):
            raise BackendValueError(f"model is a path as text and net_name a word; got {model!r}, {net_name!r}")
        import onnx

        loaded = onnx.load(model)
        if any(
            name not in {n.name for n in loaded.graph.node}
            for name in (start_node_names or []) + (end_node_names or [])
        ):
            raise MisspellNodeError("Unable to find node names")
        (graph_input,) = loaded.graph.input
        shape = [dim.dim_value for dim in graph_input.type.tensor_type.shape.dim]
        if net_input_shapes != {graph_input.name: shape} or shape[0] != 1:
            raise UnsupportedModelError(f"Shapes {net_input_shapes} for an input {graph_input.name} of {shape}")
        parser.layers_of(loaded.graph)
        self._onnx, self._name, self._state = loaded.SerializeToString(), net_name, "parsed"
        say(f"[info] Translation started on ONNX model {net_name}")
        say(f"[info] Translation completed on ONNX model {net_name} (completion time: 00:00:00.76)")
        return {}, {}

    def load_model_script(self, model_script: str, append: bool = False) -> None:
        self._require("load_model_script", "parsed")
        if not isinstance(model_script, str) or append:
            raise BackendValueError("A script is a text here, and loaded once")
        modelscript.read(model_script)
        modelscript.require_layers(model_script, self._name, self._layers())
        say(f"[info] Loading model script commands to {self._name} from string")
        self._script = model_script

    def optimize_full_precision(self, *, calib_data: Any) -> None:
        self._require("optimize_full_precision", "parsed")
        self._require_calibration(calib_data)
        self._state = "full precision"

    def optimize(
        self, calib_data: Any, data_type: CalibrationDataType = CalibrationDataType.auto, *, work_dir: str | None = None
    ) -> None:
        self._require("optimize", "full precision")
        self._require_calibration(calib_data)
        script = modelscript.read(self._script)
        level, used = script["level"], script["calibset_size"]
        few, blind = len(calib_data) < 1024, "HAILO_DOUBLE_GPU" not in os.environ
        say("[info] Starting Model Optimization")
        if level and (few or blind):
            causes = ["there's less data than the recommended amount (1024)"] * few + [
                "there's no available GPU"
            ] * blind
            level = 0
            say(
                "\x1b[33m[warning] Reducing optimization level to 0 (the accuracy won't be optimized and compression "
                f"won't be used) because {', and '.join(causes)}\x1b[0m"
            )
        if failures.how("optimize") == "calibset":
            used = 64
        say("[info] Starting Statistics Collector")
        say(f"[info] Using dataset with {used} entries for calibration")
        say(
            f"Calibration:   0%|   | 0/{used} [00:00<?, ?entries/s]\rCalibration: 100%|███| {used}/{used} [00:19<00:00]"
        )
        say("[info] Model Optimization Algorithm Statistics Collector is done (completion time is 00:00:20.63)")
        tuned = level >= 2 and failures.how("optimize") != "untuned" and "finetune" not in script["off"]
        ends = "is done (completion time is 00:01:00.00)" if tuned else "skipped"
        say(f"[info] Model Optimization Algorithm Quantization-Aware Fine-Tuning {ends}")
        self._script += f"\n# level {level}"
        self._state = "quantized"

    def _require_calibration(self, data: Any) -> None:
        script, size = modelscript.read(self._script), self._size()
        if not isinstance(data, np.ndarray) or data.ndim != 4 or data.shape[1:] != (size, size, 3):
            raise BackendValueError(f"Calibration data must be an ndarray [N, {size}, {size}, 3]")
        if len(data) < script["calibset_size"]:
            raise BackendValueError(f"calibset_size={script['calibset_size']} of {len(data)} images")
        raw = data.dtype in (np.uint8, np.float32) and data.min() >= 0 and data.max() > 2
        if (script["mean"] is not None) != raw:
            raise BackendValueError("Raw images go with normalization() in the script, normalized float32 ones without")

    def _layers(self) -> set[str]:
        import onnx

        return parser.layers_of(onnx.load_from_string(self._onnx).graph)

    def _size(self) -> int:
        import onnx

        return int(onnx.load_from_string(self._onnx).graph.input[0].type.tensor_type.shape.dim[2].dim_value)

    @contextlib.contextmanager
    def infer_context(self, inference_context: InferenceContext) -> Iterator[InferenceContext]:
        least = {
            InferenceContext.SDK_NATIVE: "parsed",
            InferenceContext.SDK_FP_OPTIMIZED: "full precision",
            InferenceContext.SDK_QUANTIZED: "quantized",
        }
        if inference_context not in least:
            raise BackendValueError("No Hailo hardware is connected")
        if ORDER.index(self._state) < ORDER.index(least[inference_context]):
            raise BackendValueError(f"{inference_context} after state {self._state!r}")
        self._active = inference_context
        try:
            yield inference_context
        finally:
            self._active = None

    def infer(
        self, context: InferenceContext, dataset: Any, batch_size: int | None = None, data_count: int | None = None
    ) -> Any:
        if self._active is None or context is not self._active:
            raise BackendValueError("infer needs the context that infer_context gave, while it is open")
        failures.at(f"infer {context.value}")
        size = self._size()
        if not isinstance(dataset, np.ndarray) or dataset.ndim != 4 or dataset.shape[1:] != (size, size, 3):
            raise BackendValueError(f"Pictures must be an ndarray [N, {size}, {size}, 3]")
        normalized = dataset.dtype == np.float32 and dataset.min() < 0
        if (context is InferenceContext.SDK_NATIVE) != normalized:
            raise BackendValueError("Pictures must be normalized for SDK_NATIVE, whose graph has no normalization yet")
        pictures = dataset.astype(np.float64)
        if not normalized:
            script = modelscript.read(self._script.partition("\n#")[0])
            pictures = (pictures - script["mean"]) / script["std"]
        outputs = self._run(pictures.astype(np.float32).transpose(0, 3, 1, 2))
        if context is InferenceContext.SDK_QUANTIZED:
            outputs = self._rounded(outputs)
            if failures.how("infer quantized") == "nan":
                outputs[0] = np.nan
            if failures.how("infer quantized") == "shape":
                outputs = outputs[:, :3]
        # A dense layer's output may come with its height and width.
        return outputs[:, None, None, :] if context is InferenceContext.SDK_NATIVE else [outputs]

    def _run(self, images: Any) -> Any:
        import onnxruntime

        session = onnxruntime.InferenceSession(self._onnx, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in images])

    def _rounded(self, outputs: Any) -> Any:
        """Round as with 8 bits, or 6 without optimization, and add a little repeatable noise."""
        steps = 31 if self._script.endswith("# level 0") else 127
        scale = np.abs(outputs).max() / steps
        noise = np.random.default_rng(zlib.crc32(outputs.tobytes())).normal(0, scale / 4, outputs.shape)
        return (np.round(outputs / scale + noise / scale) * scale).astype(np.float32)

    def compile(self) -> bytes:
        self._require("compile", "quantized")
        say("[info] Adding an output layer after fc1")
        say("[info] Building HEF...")
        self._state = "compiled"
        architecture, version = self._hw_arch, "3.33.0"
        wanted = failures.how("compile")
        if wanted == "wrong-arch":
            architecture = "hailo8" if architecture == "hailo8l" else "hailo8l"
        if wanted == "wrong-version":
            version = "3.30.0"
        if wanted == "garbage":
            return b"\x01HEG" + bytes(64)
        if wanted == "text":
            return "a HEF"  # type: ignore[return-value]
        return hef_bytes.make(architecture, 2, version, zlib.crc32(self._onnx + self._script.encode()))

    def profile(self, *, should_use_logical_layers: bool, hef_filename: str) -> dict[str, Any]:
        self._require("profile", "compiled")
        if not should_use_logical_layers or not Path(hef_filename).is_file():
            raise BackendValueError("No HEF to profile")
        return {
            "stats": {"fps": np.float32(1.5), "layers": [{"name": "conv1"}]},
            "latency_data": {"latency": float("nan")},
        }

    def save_har(self, har_path: str) -> None:
        if not isinstance(har_path, str):
            raise BackendValueError("A path is a text")
        failures.at("save_har")
        parts = {"state": self._state, "hw_arch": self._hw_arch, "script": self._script, "name": self._name}
        Path(har_path).write_text(json.dumps(parts | {"onnx": base64.b64encode(self._onnx).decode()}))
        say(f"[info] Saved HAR to: {har_path}")

    def load_har(self, har: str) -> None:
        if not isinstance(har, str):
            raise BackendValueError("A path is a text")
        parts = json.loads(Path(har).read_text())
        if self._hw_arch is not None and self._hw_arch != parts["hw_arch"]:
            raise BackendValueError(f"A HAR for {parts['hw_arch']} and hw_arch {self._hw_arch}")
        self._hw_arch, self._state, self._script = parts["hw_arch"], parts["state"], parts["script"]
        self._onnx, self._name = base64.b64decode(parts["onnx"]), parts["name"]
