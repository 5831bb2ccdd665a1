"""The cpu target: static INT8 quantization, benchmark, profile and recognition with ONNX Runtime."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends of compile, benchmark, profile and recognize, all named ``onnxruntime``."""
    return [
        Backend(
            "onnxruntime",
            "compile",
            run="pokeflow_onnxruntime.stages.compile:run",
            params="pokeflow_onnxruntime.params:CompileParams",
            revision="3",
            check="pokeflow_onnxruntime.params:check_compile",
            fingerprint="pokeflow_vision.calibration:fingerprint",
        ),
        Backend(
            "onnxruntime",
            "benchmark",
            run="pokeflow_onnxruntime.stages.benchmark:run",
            params="pokeflow_vision.benchmark:BenchmarkParams",
            revision="3",
            check="pokeflow_vision.benchmark:check",
        ),
        Backend(
            "onnxruntime",
            "profile",
            run="pokeflow_onnxruntime.stages.profile:run",
            params="pokeflow_vision.profiling:ProfileParams",
            check="pokeflow_vision.profiling:check",
            terminal=True,
        ),
        Backend(
            "onnxruntime",
            "recognize",
            run="pokeflow_onnxruntime.stages.recognize:run",
            params="pokeflow_vision.recognition:RecognizeParams",
            check="pokeflow_vision.recognition:check",
            fingerprint="pokeflow_vision.recognition:fingerprint",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return the package with the YAML of ``target=cpu``."""
    return "pokeflow_onnxruntime.conf"
