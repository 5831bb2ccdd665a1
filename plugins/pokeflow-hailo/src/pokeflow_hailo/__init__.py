"""The Hailo targets: compile to HEF, benchmark and profile on Hailo-8 and Hailo-8L.

Stage ``compile`` never imports the Dataflow Compiler or HailoRT into this interpreter: they run in separate processes.
"""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends ``hailo`` of four stages; ``recognize`` needs the chip in this machine."""
    return [
        Backend(
            "hailo",
            "compile",
            run="pokeflow_hailo.stages.compile:run",
            params="pokeflow_hailo.params:CompileParams",
            check="pokeflow_hailo.params:check_compile",
            fingerprint="pokeflow_vision.calibration:fingerprint",
        ),
        Backend(
            "hailo",
            "benchmark",
            run="pokeflow_hailo.stages.benchmark:run",
            params="pokeflow_hailo.params:BenchmarkParams",
            check="pokeflow_hailo.params:check_benchmark",
        ),
        Backend(
            "hailo",
            "profile",
            run="pokeflow_hailo.stages.profile:run",
            params="pokeflow_hailo.params:ProfileParams",
            check="pokeflow_hailo.params:check_profile",
            fingerprint="pokeflow_hailo.params:fingerprint_profile",
            terminal=True,
        ),
        Backend(
            "hailo",
            "recognize",
            run="pokeflow_hailo.stages.recognize:run",
            params="pokeflow_vision.recognition:RecognizeParams",
            check="pokeflow_vision.recognition:check",
            fingerprint="pokeflow_vision.recognition:fingerprint",
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return the package with the YAML of ``target=hailo8l`` and ``target=hailo8``."""
    return "pokeflow_hailo.conf"
