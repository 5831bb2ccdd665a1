"""Parameters of the Hailo backends: one dataclass per stage, and the checks that types cannot express."""

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
"""Metadata of a field that only says which file or machine is used: it stays out of the task's digest."""
LAYER = re.compile(r"[A-Za-z0-9_*]+(/[A-Za-z0-9_*]+)?")
"""Layer name in model script syntax, ``conv1`` or ``network/conv1``; ``*`` matches any characters."""
MIN_IMAGES = 1024
"""Minimum size of the calibration set; with fewer images the compiler lowers the optimization level."""
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.hef")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}")


@dataclass(frozen=True, slots=True)
class Levels:
    """Optimization level, compression level and compiler effort of a preset; see ``Script``."""

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
    """Switches for single optimization algorithms that override the optimization level; null leaves it to the level."""

    bias_correction: Policy | None = None
    finetune: Policy | None = None
    adaround: Policy | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """The content of the model script: a ``preset`` and the values that override it.

    Attributes:
        preset: Source of the three levels below wherever they are null.
        optimization_level: 0 to 4: none, bias correction, fine-tuning on 1,024 images, AdaRound of some or of all
            layers. A CUDA GPU is needed above 0.
        compression_level: 0 to 5: how many weights are quantized to 4 bits.
        compiler_effort: With ``max`` the allocator searches longest.
        batch_size: Images per calibration batch; it bounds the memory of calibration.
        precision: Precision mode per layer, by name or with ``*``; all other layers have 8 bits.
        double_scale: Layers whose biases get a second scale.
        algorithms: Switches for single algorithms, whatever the level.

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
        """Levels of the preset, with the explicitly set ones in their stead."""
        preset, level, compression = PRESETS[self.preset], self.optimization_level, self.compression_level
        return Levels(
            preset.optimization if level is None else level,
            preset.compression if compression is None else compression,
            self.compiler_effort or preset.effort,
        )


@dataclass(frozen=True, slots=True)
class Compiler:
    """The location of the Dataflow Compiler.

    Attributes:
        python: Interpreter that can import the compiler; null tries ``python3`` and the versioned names of it.
        host: ``user@host`` or a name of ``~/.ssh/config``, a Linux machine on x86_64; null is this machine.
        hours: Timeout of each of the compiler's two runs, in hours.

    """

    python: str | None = None
    host: str | None = None
    hours: float = 24.0


@dataclass(frozen=True, slots=True)
class CompileParams:
    """Parameters of the stage ``compile``, which turns a float32 network into a HEF.

    Attributes:
        hw_arch: Chip to compile for, as the Dataflow Compiler names it.
        file: Name of the HEF; the other files of the network share its stem.
        script: Content of the model script.
        calibration_images: Size of the calibration set in captures of train cards; null uses all.
        calibration_file: ``.npy`` file that replaces the captures as calibration set.
        allow_downgrade: Accept a network that the compiler optimized less than requested.
        operators: ONNX operators that the installed compiler supports in addition to the known ones.
        compiler: Location of the compiler.

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
    """The application's requirements on the device, each named after a benchmark figure; null is no requirement."""

    latency_p50_ms: float | None = None
    throughput_fps_batch1: float | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkParams:
    """Parameters of the stage ``benchmark``, which measures a HEF on its chip.

    Attributes:
        runs: Measured runs of each timing loop.
        warmup: Runs before the measured ones, which do not count.
        batch_sizes: Batch sizes of the throughput loops.
        max_seconds: Time after which a loop ends early; the result has the number of runs completed.
        requires: Requirements that the figures are compared with.
        device: Machine with the chip: null or ``local`` is this machine, else ``user@host`` or a name of
            ``~/.ssh/config``.
        python: Interpreter on that machine that can import ``hailo_platform``.

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
    """Parameters of the stage ``profile``, which gathers the figures of a HEF.

    Attributes:
        device: Machine with a chip to measure on (``local`` or ``user@host``); null measures nothing.
        python: Interpreter on that machine that can import ``hailo_platform``.
        runs: Measured runs of each timing loop.
        max_seconds: Time after which a loop ends early.

    """

    device: str | None = field(default=None, metadata=ELSEWHERE)
    python: str = field(default="python3", metadata=ELSEWHERE)
    runs: int = 200
    max_seconds: float = 30.0


def check_compile(params: CompileParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, message) for each fault in the parameters of stage ``compile``."""
    yield from calibration.check(params)
    script = params.script
    if not _FILE.fullmatch(params.file):
        yield "file", f"{params.file!r} is not a .hef file name of letters, digits, '.', '_', '-'"
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
                yield f"script.{name}", f"{layer!r} is not a layer name of letters, digits, '_', '*' and one '/'"
    images = params.calibration_images
    if images is not None and images < MIN_IMAGES and script.levels.optimization and not params.allow_downgrade:
        yield (
            "calibration_images",
            (
                f"{images} are too few for optimization level {script.levels.optimization}, which needs "
                f"{MIN_IMAGES:,}; script.preset=fast accepts any number"
            ),
        )
    python = params.compiler.python
    if python is not None and (not python or python.startswith("-")):
        yield "compiler.python", f"{python!r} is not a program"
    if not params.compiler.hours > 0:
        yield "compiler.hours", f"{params.compiler.hours} is not above 0"
    yield from _check_host("compiler.host", params.compiler.host)


def check_benchmark(params: BenchmarkParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, message) for each fault in the parameters of stage ``benchmark``."""
    yield from benchmark.check(params)
    for name, value in asdict(params.requires).items():
        if value is not None and not value > 0:
            yield f"requires.{name}", f"{value} is not above 0"
    yield from _check_device(params)


def fingerprint_profile(params: ProfileParams) -> str:
    """Return a text that differs with and without a device, so that naming one makes the profile run again."""
    return "" if params.device is None else "with a device"


def check_profile(params: ProfileParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, message) for each fault in the parameters of stage ``profile``."""
    if params.runs < 1:
        yield "runs", f"{params.runs} is below 1"
    if not params.max_seconds > 0:
        yield "max_seconds", f"{params.max_seconds} is not above 0"
    yield from _check_device(params)


def _check_device(params: BenchmarkParams | ProfileParams) -> Iterable[tuple[str, str]]:
    if not params.python or params.python.startswith("-"):
        yield "python", f"{params.python!r} is not a program"
    yield from _check_host("device", params.device)


def _check_host(name: str, host: str | None) -> Iterable[tuple[str, str]]:
    # ssh would parse a name that begins with a dash as an option.
    if host is not None and not _HOST.fullmatch(host):
        yield name, f"{host!r} is not an address: user@host, or a name of ~/.ssh/config"
