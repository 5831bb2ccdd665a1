"""What YAML may say to the backend that compiles; its faults are those of ``pokeflow_vision.calibration``."""

from dataclasses import dataclass, field
from typing import Literal


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
