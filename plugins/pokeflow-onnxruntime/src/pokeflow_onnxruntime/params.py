"""Parameters of the backend ``compile`` of ONNX Runtime, and the checks that types cannot express."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pokeflow_vision import calibration


@dataclass(frozen=True, slots=True)
class CompileParams:
    """Parameters of static INT8 quantization: QDQ, uint8 activations, int8 weights, ranges from calibration images.

    Attributes:
        method: How activation ranges are derived from the calibration images.
        percentile: Percentage of a tensor's values inside its range; read by the method of that name only.
        per_channel: Whether weights are quantized per output channel instead of per tensor.
        reduce_range: Limit weights to 7 bits, for x86 CPUs without VNNI, on which 8-bit products can saturate.
        calibration_images: Number of captures of train cards; None uses all in the data set, and requires at least 32.
        calibration_file: ``.npy`` file of your own pictures instead (``pokeflow_vision.calibration``).
        batch_size: Number of images whose activations are in memory at once.

    """

    method: Literal["percentile", "minmax", "entropy"] = "percentile"
    percentile: float = 99.999
    per_channel: bool = True
    reduce_range: bool = False
    calibration_images: int | None = None
    calibration_file: str | None = field(default=None, metadata={"digest": False})
    batch_size: int = 8


def check_compile(params: CompileParams) -> Iterable[tuple[str, str]]:
    """Yield the faults that types cannot express, as (parameter, message) pairs."""
    if not 50 < params.percentile <= 100:
        yield "percentile", f"{params.percentile} is not above 50 and at most 100"
    yield from calibration.check(params)
    if params.batch_size < 1:
        yield "batch_size", f"{params.batch_size} is below 1"
