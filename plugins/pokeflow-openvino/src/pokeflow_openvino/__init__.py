"""The openvino target: INT8 with NNCF, benchmark, profile and recognition with OpenVINO on Intel and ARM CPUs."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends of compile, benchmark, profile and recognize, all named ``openvino``."""
    return [
        Backend(
            "openvino",
            "compile",
            run="pokeflow_openvino.stages.compile:run",
            params="pokeflow_openvino.params:CompileParams",
            check="pokeflow_vision.calibration:check",
            fingerprint="pokeflow_vision.calibration:fingerprint",
        ),
        Backend(
            "openvino",
            "benchmark",
            run="pokeflow_openvino.stages.benchmark:run",
            params="pokeflow_vision.benchmark:BenchmarkParams",
            check="pokeflow_vision.benchmark:check",
        ),
        Backend(
            "openvino",
            "profile",
            run="pokeflow_openvino.stages.profile:run",
            params="pokeflow_vision.profiling:ProfileParams",
            check="pokeflow_vision.profiling:check",
            terminal=True,
        ),
        Backend(
            "openvino",
            "recognize",
            run="pokeflow_openvino.stages.recognize:run",
            params="pokeflow_vision.recognition:RecognizeParams",
            check="pokeflow_vision.recognition:check",
            fingerprint="pokeflow_vision.recognition:fingerprint",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return the package with the YAML of ``target=openvino``."""
    return "pokeflow_openvino.conf"
