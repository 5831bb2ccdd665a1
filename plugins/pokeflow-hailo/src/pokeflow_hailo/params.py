"""What YAML may say of the Hailo backends: one dataclass a stage, and what types cannot show about them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from pokeflow_vision import benchmark, calibration

Architecture = Literal["hailo8l", "hailo8", "hailo8r"]
Preset = Literal["fast", "default", "accurate"]
Precision = Literal["a8_w8", "a8_w4", "a16_w16"]
Policy = Literal["enabled", "disabled"]

ELSEWHERE = {"digest": False}
"""Marks where something is done: it changes no result."""
LAYER = re.compile(r"[A-Za-z0-9_*]+(/[A-Za-z0-9_*]+)?")
"""A layer as model scripts name it, ``conv1`` or ``network/conv1``; ``*`` stands for any letters."""
LEAST_IMAGES = 1024
"""With fewer the compiler optimises at a lower level than it is told."""
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.hef")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}")


@dataclass(frozen=True, slots=True)
class Levels:
    """What a preset stands for; see ``Script``."""

    optimization: int
    compression: int
    effort: Literal["max", "normal"]


PRESETS: Mapping[Preset, Levels] = {
    "fast": Levels(0, 0, "normal"),
    "default": Levels(2, 0, "normal"),
    "accurate": Levels(4, 0, "max"),
}


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Single steps of the optimisation, turned on or off whatever the level says; null: as the level says."""

    bias_correction: Policy | None = None
    finetune: Policy | None = None
    adaround: Policy | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """The model script: a ``preset``, and what is to differ from it (null: as the preset says).

    ``optimization_level`` 0 to 4: none, bias correction, fine-tuning on 1,024 images, AdaRound of some or of all
    layers; above 0 a CUDA GPU is needed. ``compression_level`` 0 to 5: how many weights become 4 bits.
    ``compiler_effort`` max has the allocator search longest. ``batch_size`` bounds the memory of calibration.
    ``precision`` gives layers, by name or with ``*``, another width than 8 bits; ``double_scale`` lists those whose
    biases get a second scale.
    """

    preset: Preset = "default"
    optimization_level: int | None = None
    compression_level: int | None = None
    compiler_effort: Literal["max", "normal"] | None = None
    batch_size: int = 8
    precision: dict[str, Precision] = field(default_factory=dict)
    double_scale: tuple[str, ...] = ()
    algorithms: Algorithms = field(default_factory=Algorithms)

    @property
    def levels(self) -> Levels:
        """The preset's levels, with those that are given."""
        preset, level, compression = PRESETS[self.preset], self.optimization_level, self.compression_level
        return Levels(
            preset.optimization if level is None else level,
            preset.compression if compression is None else compression,
            self.compiler_effort or preset.effort,
        )


@dataclass(frozen=True, slots=True)
class Compiler:
    """Where the Dataflow Compiler is: a ``python`` that can import it, on ``host`` (null: this machine).

    ``host`` is ``user@host`` or a name of ``~/.ssh/config``, Linux on x86_64. ``python`` null looks for one:
    ``python3`` and the versions it may be called by. ``hours`` bounds each of its two runs.
    """

    python: str | None = None
    host: str | None = None
    hours: float = 24.0


@dataclass(frozen=True, slots=True)
class CompileParams:
    """How a float32 network becomes a HEF.

    ``file`` names the HEF; what lies beside it is named after it. ``calibration_images`` asks for that many captures
    of train cards, null for all; ``calibration_file`` is an array of one's own instead. ``allow_downgrade`` takes
    what the compiler made where it optimised less than was asked for. ``operators`` are those that your compiler
    takes beside the ones that are known here.
    """

    hw_arch: Architecture
    file: str = "model.hef"
    script: Script = field(default_factory=Script)
    calibration_images: int | None = 1024
    calibration_file: str | None = field(default=None, metadata=ELSEWHERE)
    allow_downgrade: bool = False
    operators: tuple[str, ...] = ()
    compiler: Compiler = field(default_factory=Compiler, metadata=ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Requires:
    """What the application needs of the device, each a figure of the benchmark; null: nothing is asked of it."""

    latency_p50_ms: float | None = None
    throughput_fps_batch1: float | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkParams:
    """How the HEF is measured: ``warmup`` runs that do not count, then ``runs`` that do, at each batch size.

    ``max_seconds`` ends each loop early; the number of runs made is in the result. ``device`` is where the chip is:
    null or ``local`` for this machine, ``user@host`` or a name of ``~/.ssh/config``; its ``python`` can import
    ``hailo_platform``. ``requires`` is what the figures are held against.
    """

    runs: int = 1000
    warmup: int = 50
    batch_sizes: tuple[int, ...] = (1, 8)
    max_seconds: float = 60.0
    requires: Requires = field(default_factory=Requires)
    device: str | None = field(default=None, metadata=ELSEWHERE)
    python: str = field(default="python3", metadata=ELSEWHERE)


@dataclass(frozen=True, slots=True)
class ProfileParams:
    """Where figures are gathered from: with a ``device`` (``local``, ``user@host``) it is asked too; null: it is not.

    ``python`` is the device's, ``runs`` and ``max_seconds`` bound what is timed there.
    """

    device: str | None = field(default=None, metadata=ELSEWHERE)
    python: str = field(default="python3", metadata=ELSEWHERE)
    runs: int = 200
    max_seconds: float = 30.0


def check_compile(params: CompileParams) -> Iterable[tuple[str, str]]:
    """Faults of compile's parameters."""
    yield from calibration.check(params)
    script = params.script
    if not _FILE.fullmatch(params.file):
        yield "file", f"{params.file!r} is no name of a .hef: letters, digits, '.', '_', '-'"
    for name, value, most in (
        ("optimization_level", script.optimization_level, 4),
        ("compression_level", script.compression_level, 5),
    ):
        if value is not None and not 0 <= value <= most:
            yield f"script.{name}", f"{value} is not between 0 and {most}"
    if script.batch_size < 1:
        yield "script.batch_size", f"{script.batch_size} is below 1"
    for name, layers in (("precision", script.precision), ("double_scale", script.double_scale)):
        for layer in layers:
            if not LAYER.fullmatch(layer):
                yield f"script.{name}", f"{layer!r} is no name of a layer: letters, digits, '_', '*' and one '/'"
    images = params.calibration_images
    if images is not None and images < LEAST_IMAGES and script.levels.optimization and not params.allow_downgrade:
        yield (
            "calibration_images",
            (
                f"{images} are too few for optimisation level {script.levels.optimization}: {LEAST_IMAGES:,} are "
                "needed; script.preset=fast takes any number"
            ),
        )
    python = params.compiler.python
    if python is not None and (not python or python.startswith("-")):
        yield "compiler.python", f"{python!r} is no program"
    if not params.compiler.hours > 0:
        yield "compiler.hours", f"{params.compiler.hours} is not above 0"
    yield from _check_host("compiler.host", params.compiler.host)


def check_benchmark(params: BenchmarkParams) -> Iterable[tuple[str, str]]:
    """Faults of benchmark's parameters."""
    yield from benchmark.check(params)
    for name, value in asdict(params.requires).items():
        if value is not None and not value > 0:
            yield f"requires.{name}", f"{value} is not above 0"
    yield from _check_device(params)


def fingerprint_profile(params: ProfileParams) -> str:
    """Whether a device is asked: one that comes to be named has something to add."""
    return "" if params.device is None else "with a device"


def check_profile(params: ProfileParams) -> Iterable[tuple[str, str]]:
    """Faults of profile's parameters."""
    if params.runs < 1:
        yield "runs", f"{params.runs} is below 1"
    if not params.max_seconds > 0:
        yield "max_seconds", f"{params.max_seconds} is not above 0"
    yield from _check_device(params)


def _check_device(params: BenchmarkParams | ProfileParams) -> Iterable[tuple[str, str]]:
    if not params.python or params.python.startswith("-"):
        yield "python", f"{params.python!r} is no program"
    yield from _check_host("device", params.device)


def _check_host(name: str, host: str | None) -> Iterable[tuple[str, str]]:
    # ssh would take what begins with a dash for an option.
    if host is not None and not _HOST.fullmatch(host):
        yield name, f"{host!r} is no address: user@host, or a name of ~/.ssh/config"
