"""Model script (``.alls``) for the Dataflow Compiler, rendered from YAML parameters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pokeflow import PokeflowError
from pokeflow_hailo.params import LAYER, MIN_IMAGES, Script
from pokeflow_vision.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class OptimizationLevels:
    """Requested optimization: the levels of the model script, and the size of the calibration set."""

    optimization_level: int
    compression_level: int
    calibration_images: int


def resolve_levels(script: Script, images: int) -> OptimizationLevels:
    """Return the requested levels from a preset, its overrides and the size of the calibration set."""
    levels = script.levels
    return OptimizationLevels(levels.optimization, levels.compression, images)


def require_enough(level: int, images: int, allow_downgrade: bool) -> None:
    """Raise a PokeflowError for too few images for the level, which the compiler would report only after its start."""
    if level and images < MIN_IMAGES and not allow_downgrade:
        raise PokeflowError(
            f"target.compile.params: optimization level {level} needs {MIN_IMAGES:,} calibration images, but "
            f"there are {images:,}; the compiler would use a lower level. Raise data.queries.calibration, use "
            "script.preset=fast, or set allow_downgrade."
        )


def render_script(script: Script, spec: Preprocessing, images: int) -> str:
    """Render the model script; the chip normalizes values from 0 to 255 with the checkpoint's mean and std."""
    return "".join(f"{line}\n" for line in _lines(script, spec, images))


def _lines(script: Script, spec: Preprocessing, images: int) -> Iterator[str]:
    levels, (mean, std) = script.levels, normalization(spec)
    yield f"normalization1 = normalization([{_numbers(mean)}], [{_numbers(std)}])"
    # Without this line the compiler uses only 64 images of the calibration set.
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
    """Return mean and std on the scale 0 to 255, multiplied as decimals and rounded to the nearest float."""
    # Decimal arithmetic: 0.485 × 255 is 123.675, but 123.67499999999998 in floating point.
    mean, std = ([float(Decimal(repr(float(v))) * 255) for v in values] for values in (spec.mean, spec.std))
    return mean, std


def _numbers(values: Sequence[float]) -> str:
    """Format numbers with the fewest digits that parse back to the same values, without an exponent."""
    plain = (f"{Decimal(repr(value)):f}" for value in values)
    return ", ".join(text.removesuffix(".0") for text in plain)


def _layer(name: str) -> str:
    # An invalid name could end the command and start another one.
    if not LAYER.fullmatch(name):
        raise PokeflowError(
            f"target.compile.params.script: {name!r} is not a layer name. Use letters, digits, '_', '*' and at most "
            "one '/'."
        )
    return f"{{{name}}}" if "*" in name else name
