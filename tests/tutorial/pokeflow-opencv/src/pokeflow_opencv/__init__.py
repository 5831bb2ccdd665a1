"""Compiles, measures and recognises with OpenCV's module dnn."""

from pokeflow import Backend, NoParams, hookimpl


@hookimpl
def pokeflow_backends() -> list[Backend]:
    return [
        Backend("opencv", "compile", "pokeflow_opencv.stages.compile:run", NoParams),
        Backend(
            "opencv",
            "benchmark",
            run="pokeflow_opencv.stages.benchmark:run",
            params="pokeflow_vision.benchmark:BenchmarkParams",
            check="pokeflow_vision.benchmark:check",
        ),
        Backend(
            "opencv",
            "recognize",
            run="pokeflow_opencv.stages.recognize:run",
            params="pokeflow_vision.recognition:RecognizeParams",
            fingerprint="pokeflow_vision.recognition:fingerprint",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_opencv.conf"
