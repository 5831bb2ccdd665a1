"""The Hailo targets: compile to HEF, benchmark and profile on Hailo-8 and Hailo-8L.

Nothing heavy is imported here: a backend's module is loaded when its first task runs. The Dataflow Compiler and
HailoRT are never imported by this interpreter's tasks of stage ``compile``: they have processes of their own.
"""

from collections.abc import Iterable

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_hailo import params
from pokeflow_hailo.params import BenchmarkParams, CompileParams, ProfileParams
from pokeflow_vision import calibration, recognition


def _compile(task: Task) -> Result:
    from pokeflow_hailo.compile import stage

    return stage.run(task)


def _benchmark(task: Task) -> Result:
    from pokeflow_hailo import benchmark

    return benchmark.run(task)


def _profile(task: Task) -> Result:
    from pokeflow_hailo import profile

    return profile.run(task)


def _recognize(task: Task) -> Result:
    from pokeflow_hailo import network

    return recognition.run(task, network.opened)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Compile, benchmark, profile and recognize, all named ``hailo``; the last needs the chip in this machine."""
    return [
        Backend(
            "hailo",
            "compile",
            _compile,
            CompileParams,
            check=params.check_compile,
            fingerprint=calibration.fingerprint,
        ),
        Backend("hailo", "benchmark", _benchmark, BenchmarkParams, check=params.check_benchmark),
        Backend(
            "hailo",
            "profile",
            _profile,
            ProfileParams,
            check=params.check_profile,
            fingerprint=params.fingerprint_profile,
            aside=True,
        ),
        Backend(
            "hailo",
            "recognize",
            _recognize,
            recognition.RecognizeParams,
            check=recognition.check,
            fingerprint=recognition.fingerprint,
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``target=hailo8l`` and ``target=hailo8`` lie."""
    return "pokeflow_hailo.conf"
