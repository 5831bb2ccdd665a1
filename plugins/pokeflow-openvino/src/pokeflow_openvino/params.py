"""Parameters of the backend ``compile`` of OpenVINO; ``pokeflow_vision.calibration`` checks them."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class CompileParams:
    """Parameters of INT8 quantisation: NNCF's post-training quantisation, int8 weights per channel.

    ``preset`` says whether activations are quantised symmetrically (performance) or not (mixed). Biases are corrected
    for the shift that quantising causes: ``fast`` by statistics of single layers, ``accurate`` by running the network
    layer by layer. The calibration parameters are common to all targets (``pokeflow_vision.calibration``).
    """

    preset: Literal["performance", "mixed"] = "performance"
    bias_correction: Literal["fast", "accurate"] = "fast"
    calibration_images: int | None = None
    calibration_file: str | None = field(default=None, metadata={"digest": False})
