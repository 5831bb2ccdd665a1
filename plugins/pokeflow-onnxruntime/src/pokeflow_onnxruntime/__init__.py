"""The cpu target: static INT8 quantisation, benchmark, profile and recognition with ONNX Runtime."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl
from pokeflow_onnxruntime.params import CompileParams
from pokeflow_vision.benchmark import BenchmarkParams
from pokeflow_vision.profiling import ProfileParams
from pokeflow_vision.recognition import RecognizeParams


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Compile, benchmark, profile and recognize, all named ``onnxruntime``."""
    return [
        Backend(
            "onnxruntime",
            "compile",
            run="pokeflow_onnxruntime.stages.compile:run",
            params=CompileParams,
            revision="3",
            check="pokeflow_onnxruntime.params:check_compile",
            fingerprint="pokeflow_vision.calibration:fingerprint",
        ),
        Backend(
            "onnxruntime",
            "benchmark",
            run="pokeflow_onnxruntime.stages.benchmark:run",
            params=BenchmarkParams,
            revision="3",
            check="pokeflow_vision.benchmark:check",
        ),
        Backend(
            "onnxruntime",
            "profile",
            run="pokeflow_onnxruntime.stages.profile:run",
            params=ProfileParams,
            check="pokeflow_vision.profiling:check",
            aside=True,
        ),
        Backend(
            "onnxruntime",
            "recognize",
            run="pokeflow_onnxruntime.stages.recognize:run",
            params=RecognizeParams,
            check="pokeflow_vision.recognition:check",
            fingerprint="pokeflow_vision.recognition:fingerprint",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``target=cpu`` lies."""
    return "pokeflow_onnxruntime.conf"
