"""Parameters of the backend ``compile`` of OpenVINO; ``pokeflow_vision.calibration`` checks them."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class CompileParams:
    """Parameters of INT8 quantization: NNCF's post-training quantization, int8 weights per channel.

    Attributes:
        preset: ``performance`` quantizes activations symmetrically, ``mixed`` asymmetrically.
        bias_correction: Correction of the shift that quantizing causes: ``fast``, from statistics of single layers, or
            ``accurate``: slower, by running the network layer by layer, for networks that lose too much accuracy.
        calibration_images: Number of captures of train cards; None uses all in the data set.
        calibration_file: ``.npy`` file of your own pictures instead (``pokeflow_vision.calibration``).

    """

    preset: Literal["performance", "mixed"] = "performance"
    bias_correction: Literal["fast", "accurate"] = "fast"
    calibration_images: int | None = None
    calibration_file: str | None = field(default=None, metadata={"digest": False})
