"""Compiles, measures and recognises with OpenCV's module dnn."""

from pokeflow import Backend, NoParams, hookimpl
from pokeflow_vision.benchmark import BenchmarkParams, check
from pokeflow_vision.recognition import RecognizeParams, fingerprint


@hookimpl
def pokeflow_backends() -> list[Backend]:
    compile = Backend("opencv", "compile", "pokeflow_opencv.stages.compile:run", NoParams)
    measure = Backend("opencv", "benchmark", "pokeflow_opencv.stages.benchmark:run", BenchmarkParams, check=check)
    run = "pokeflow_opencv.stages.recognize:run"
    return [compile, measure, Backend("opencv", "recognize", run, RecognizeParams, fingerprint=fingerprint)]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_opencv.conf"
