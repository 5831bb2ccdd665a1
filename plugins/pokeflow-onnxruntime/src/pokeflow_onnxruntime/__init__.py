"""The cpu target: static INT8 quantisation, benchmark and recognition with ONNX Runtime.

Nothing heavy is imported here: a backend's module is loaded when its first task runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_vision import benchmark, calibration, profiling, recognition


@dataclass(frozen=True, slots=True)
class CompileParams:
    """How a float32 network becomes INT8: QDQ, uint8 activations, int8 weights, ranges from calibration images.

    ``percentile`` is the share (in per cent) of a tensor's values that its range keeps; only the method of that
    name reads it. ``reduce_range`` keeps weights to 7 bits, for x86 CPUs without VNNI, where 8-bit products can
    saturate. ``calibration_images`` asks for that many captures of train cards; None takes all that the data set
    has, and at least 32; ``calibration_file`` gives one's own (``pokeflow_vision.calibration``). ``batch_size`` bounds
    the memory of calibration: activations of that many images are held at once.
    """

    method: Literal["percentile", "minmax", "entropy"] = "percentile"
    percentile: float = 99.999
    per_channel: bool = True
    reduce_range: bool = False
    calibration_images: int | None = None
    calibration_file: str | None = field(default=None, metadata={"digest": False})
    batch_size: int = 8


def _check_compile(params: CompileParams) -> Iterable[tuple[str, str]]:
    if not 50 < params.percentile <= 100:
        yield "percentile", f"{params.percentile} is not above 50 and at most 100"
    yield from calibration.check(params)
    if params.batch_size < 1:
        yield "batch_size", f"{params.batch_size} is below 1"


def _compile(task: Task) -> Result:
    from pokeflow_onnxruntime import quantize

    return quantize.run(task)


def _benchmark(task: Task) -> Result:
    from pokeflow_onnxruntime import network
    from pokeflow_vision.network import size_mb

    return benchmark.run(
        task, network.opened, framework=network.FRAMEWORK, size_mb=lambda folder: size_mb(folder, *network.FILES)
    )


def _profile(task: Task) -> Result:
    from pokeflow_onnxruntime import network, profile

    return profiling.run(task, profile.watch, framework=network.FRAMEWORK, source=profile.SOURCE)


def _recognize(task: Task) -> Result:
    from pokeflow_onnxruntime import network

    return recognition.run(task, network.opened)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Compile, benchmark, profile and recognize, all named ``onnxruntime``."""
    name = "onnxruntime"
    fingerprint = calibration.fingerprint
    return [
        Backend(name, "compile", _compile, CompileParams, "3", check=_check_compile, fingerprint=fingerprint),
        Backend(name, "benchmark", _benchmark, benchmark.BenchmarkParams, "3", check=benchmark.check),
        Backend(name, "profile", _profile, profiling.ProfileParams, check=profiling.check, aside=True),
        Backend(
            name,
            "recognize",
            _recognize,
            recognition.RecognizeParams,
            check=recognition.check,
            fingerprint=recognition.fingerprint,
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``target=cpu`` lies."""
    return "pokeflow_onnxruntime.conf"
