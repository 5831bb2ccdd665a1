"""The cpu target: static INT8 quantisation, benchmark and recognition with ONNX Runtime.

Nothing heavy is imported here: a backend's module is loaded when its first task runs.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pokeflow import Backend, PokeflowError, Result, Task, hookimpl


@dataclass(frozen=True, slots=True)
class CompileParams:
    """How a float32 network becomes INT8: QDQ, uint8 activations, int8 weights, ranges from calibration images.

    ``percentile`` is the share (in per cent) of a tensor's values that its range keeps; only the method of that
    name reads it. ``reduce_range`` keeps weights to 7 bits, for x86 CPUs without VNNI, where 8-bit products can
    saturate. ``calibration_images`` asks for that many captures of train cards; None takes all that the data set
    has, and at least 32. ``batch_size`` bounds the memory of calibration: activations of that many images are
    held at once.
    """

    method: Literal["percentile", "minmax", "entropy"] = "percentile"
    percentile: float = 99.999
    per_channel: bool = True
    reduce_range: bool = False
    calibration_images: int | None = None
    batch_size: int = 8


@dataclass(frozen=True, slots=True)
class BenchmarkParams:
    """How a model is timed: ``warmup`` runs that do not count, then ``runs`` that do, on ``threads`` threads.

    ``max_seconds`` ends each timing loop early (one a batch size, and one each for preprocessing, search and the
    whole); the number of runs made is in the result. ``embed_threads`` serve the accuracy figures only; 0: every
    core.
    """

    runs: int = 200
    warmup: int = 20
    threads: int = 1
    batch_sizes: tuple[int, ...] = (1, 8)
    max_seconds: float = 60.0
    embed_threads: int = 0


@dataclass(frozen=True, slots=True)
class RecognizeParams:
    """Which picture to recognise (its whole frame is taken for the card), and how many answers to give."""

    image: str
    top: int = 5


def _check_compile(params: CompileParams) -> Iterable[tuple[str, str]]:
    if not 50 < params.percentile <= 100:
        yield "percentile", f"{params.percentile} is not above 50 and at most 100"
    for name in ("calibration_images", "batch_size"):
        if (value := getattr(params, name)) is not None and value < 1:
            yield name, f"{value} is below 1"


def _check_benchmark(params: BenchmarkParams) -> Iterable[tuple[str, str]]:
    for name, least in (("runs", 1), ("warmup", 0), ("threads", 1), ("embed_threads", 0)):
        if getattr(params, name) < least:
            yield name, f"{getattr(params, name)} is below {least}"
    if not params.max_seconds > 0:
        yield "max_seconds", f"{params.max_seconds} is not above 0"
    sizes = params.batch_sizes
    if 1 not in sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        yield "batch_sizes", f"{list(sizes)} must be different sizes above 0, 1 among them (latency is of batch 1)"


def _check_recognize(params: RecognizeParams) -> Iterable[tuple[str, str]]:
    if params.top < 1:
        yield "top", f"{params.top} is below 1"
    if not Path(params.image).is_file():
        yield "image", f"no file {params.image!r}"


def _picture(params: RecognizeParams) -> str:
    file = Path(params.image)
    # A device or a pipe has no end to hash.
    if not file.is_file():
        raise PokeflowError(f"{file}: no such picture. Give the path of an image file.")
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise PokeflowError(f"{file}: cannot be read ({error}).") from error


def _compile(task: Task) -> Result:
    from pokeflow_onnxruntime import quantize

    return quantize.run(task)


def _benchmark(task: Task) -> Result:
    from pokeflow_onnxruntime import benchmark

    return benchmark.run(task)


def _recognize(task: Task) -> Result:
    from pokeflow_onnxruntime import recognize

    return recognize.run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Compile, benchmark and recognize, all named ``onnxruntime``."""
    return [
        Backend("onnxruntime", "compile", _compile, CompileParams, revision="2", check=_check_compile),
        Backend("onnxruntime", "benchmark", _benchmark, BenchmarkParams, revision="2", check=_check_benchmark),
        Backend("onnxruntime", "recognize", _recognize, RecognizeParams, check=_check_recognize, fingerprint=_picture),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``target=cpu`` lies."""
    return "pokeflow_onnxruntime.conf"
