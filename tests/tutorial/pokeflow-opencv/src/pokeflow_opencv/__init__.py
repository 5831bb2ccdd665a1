"""Compiles, measures and recognises with OpenCV's module dnn. Nothing heavy is imported here."""

from pathlib import Path
from shutil import copyfile

from pokeflow import Backend, NoParams, Result, Task, hookimpl
from pokeflow_vision import benchmark, index, recognition
from pokeflow_vision.network import ONNX, gallery, model_and_data, size_mb


def _compile(task: Task) -> Result:
    from pokeflow_opencv import network

    model, data = model_and_data(task)
    opened = network.opened(model.folder, data.preprocessing, 0)
    copyfile(model.folder / ONNX, task.output / network.FILE)
    data.preprocessing.write(task.output)
    index.write(task.output, gallery(opened, data))
    return Result({"size_mb": _size_mb(task.output)}, {"preprocessing": data.preprocessing.hash})


def _benchmark(task: Task) -> Result:
    from pokeflow_opencv import network

    return benchmark.run(task, network.opened, framework=network.FRAMEWORK, size_mb=_size_mb)


def _recognize(task: Task) -> Result:
    from pokeflow_opencv import network

    return recognition.run(task, network.opened)


def _size_mb(folder: Path) -> float:
    return size_mb(folder, ONNX)


@hookimpl
def pokeflow_backends() -> list[Backend]:
    return [
        Backend("opencv", "compile", _compile, NoParams),
        Backend("opencv", "benchmark", _benchmark, benchmark.BenchmarkParams, check=benchmark.check),
        Backend("opencv", "recognize", _recognize, recognition.RecognizeParams, fingerprint=recognition.fingerprint),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    return "pokeflow_opencv.conf"
