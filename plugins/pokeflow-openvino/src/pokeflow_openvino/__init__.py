"""The openvino target: static INT8 with NNCF, benchmark, profile and recognition with OpenVINO on Intel and ARM CPUs.

Nothing heavy is imported here: a backend's module is loaded when its first task runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_vision import benchmark, calibration, profiling, recognition


@dataclass(frozen=True, slots=True)
class CompileParams:
    """How a float32 network becomes INT8: NNCF's post-training quantisation, int8 weights a channel.

    ``preset`` says whether activations are quantised symmetrically (performance) or not (mixed). Biases are corrected
    for what quantising shifts: ``fast`` by statistics of single layers, ``accurate`` by running the network layer by
    layer. Calibration images are those of every target (``pokeflow_vision.calibration``).
    """

    preset: Literal["performance", "mixed"] = "performance"
    bias_correction: Literal["fast", "accurate"] = "fast"
    calibration_images: int | None = None
    calibration_file: str | None = field(default=None, metadata={"digest": False})


def _compile(task: Task) -> Result:
    from pokeflow_openvino import compile

    return compile.run(task)


def _benchmark(task: Task) -> Result:
    from pokeflow_openvino import network
    from pokeflow_vision.network import size_mb

    return benchmark.run(
        task, network.opened, framework=network.FRAMEWORK, size_mb=lambda folder: size_mb(folder, *network.FILES)
    )


def _profile(task: Task) -> Result:
    from pokeflow_openvino import network, profile

    return profiling.run(task, profile.watch, framework=network.FRAMEWORK, source=profile.SOURCE)


def _recognize(task: Task) -> Result:
    from pokeflow_openvino import network

    return recognition.run(task, network.opened)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Compile, benchmark, profile and recognize, all named ``openvino``."""
    name = "openvino"
    return [
        Backend(name, "compile", _compile, CompileParams, check=calibration.check, fingerprint=calibration.fingerprint),
        Backend(name, "benchmark", _benchmark, benchmark.BenchmarkParams, check=benchmark.check),
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
    """Where ``target=openvino`` lies."""
    return "pokeflow_openvino.conf"
