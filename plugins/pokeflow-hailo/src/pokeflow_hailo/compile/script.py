"""The model script (``.alls``): what the Dataflow Compiler is told of a network, written from YAML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pokeflow import PokeflowError
from pokeflow_hailo.params import LAYER, LEAST_IMAGES, Script
from pokeflow_vision.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the optimisation: levels as in the script, and how many images it is calibrated on."""

    optimization_level: int
    compression_level: int
    calibration_images: int


def asked(script: Script, images: int) -> Asked:
    """The levels that a preset and what differs from it come to."""
    levels = script.levels
    return Asked(levels.optimization, levels.compression, images)


def require_enough(level: int, images: int, allow_downgrade: bool) -> None:
    """Refuse at once what the compiler would only say after it has begun: too few images for the level."""
    if level and images < LEAST_IMAGES and not allow_downgrade:
        raise PokeflowError(
            f"target.compile.params: optimisation level {level} needs {LEAST_IMAGES:,} calibration images and there "
            f"are {images:,}; the compiler would fall to a lower level. Raise data.queries.calibration, take "
            "script.preset=fast, or set allow_downgrade."
        )


def text(script: Script, spec: Preprocessing, images: int) -> str:
    """The whole script. Normalisation is the checkpoint's own, on the chip, of values from 0 to 255."""
    return "".join(f"{line}\n" for line in _lines(script, spec, images))


def _lines(script: Script, spec: Preprocessing, images: int) -> Iterator[str]:
    levels, (mean, std) = script.levels, normalization(spec)
    yield f"normalization1 = normalization([{_numbers(mean)}], [{_numbers(std)}])"
    # Without this line 64 images are used, however many are given.
    yield f"model_optimization_config(calibration, batch_size={script.batch_size}, calibset_size={images})"
    yield (
        f"model_optimization_flavor(optimization_level={levels.optimization}, compression_level={levels.compression})"
    )
    for layer in script.double_scale:
        yield f"quantization_param({_layer(layer)}, bias_mode=double_scale_initialization)"
    for layer, precision in script.precision.items():
        yield f"quantization_param({_layer(layer)}, precision_mode={precision})"
    for algorithm in ("bias_correction", "finetune", "adaround"):
        if policy := getattr(script.algorithms, algorithm):
            yield f"post_quantization_optimization({algorithm}, policy={policy})"
    if levels.effort == "max":
        yield "performance_param(compiler_optimization_level=max)"


def normalization(spec: Preprocessing) -> tuple[list[float], list[float]]:
    """Mean and std on the scale 0 to 255: of 255 times the decimals that the spec shows, the nearest number."""
    # By decimals: 0.485 × 255 is 123.675, where binary numbers give 123.67499999999998.
    mean, std = ([float(Decimal(repr(float(v))) * 255) for v in values] for values in (spec.mean, spec.std))
    return mean, std


def _numbers(values: Sequence[float]) -> str:
    """The shortest digits that are read back as the same numbers, without an exponent."""
    plain = (f"{Decimal(repr(value)):f}" for value in values)
    return ", ".join(text.removesuffix(".0") for text in plain)


def _layer(name: str) -> str:
    # A name that is not one could end the command and begin another.
    if not LAYER.fullmatch(name):
        raise PokeflowError(f"target.compile.params.script: {name!r} is no name of a layer.")
    return f"{{{name}}}" if "*" in name else name
