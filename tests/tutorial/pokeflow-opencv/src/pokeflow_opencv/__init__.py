"""Compiles, measures and recognizes with OpenCV's module dnn."""

from pokeflow import Backend, NoParams, hookimpl


@hookimpl
def pokeflow_backends() -> list[Backend]:
    compile = Backend("opencv", "compile", "pokeflow_opencv.stages.compile:run", NoParams)
    run, module = "pokeflow_opencv.stages.benchmark:run", "pokeflow_vision.benchmark"
    measure = Backend("opencv", "benchmark", run, f"{module}:BenchmarkParams", check=f"{module}:check")
    run, module = "pokeflow_opencv.stages.recognize:run", "pokeflow_vision.recognition"
    recognize = Backend("opencv", "recognize", run, f"{module}:RecognizeParams", fingerprint=f"{module}:fingerprint")
    return [compile, measure, recognize]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_opencv.conf"
