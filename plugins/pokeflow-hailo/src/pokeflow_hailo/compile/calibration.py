"""Description of the calibration set, so that a calibration can be repeated and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow_hailo.params import CompileParams
from pokeflow_vision import calibration
from pokeflow_vision.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np


def calibration_config(
    folder: Path, data: Dataset, images: "np.ndarray", domain: Mapping[str, float], params: CompileParams
) -> dict[str, Any]:
    """Return the description of the calibration set: raw pictures, which the chip normalizes.

    Args:
        folder: Folder of the data set.
        data: The data set.
        images: The calibration images.
        domain: Distances of the calibration set from the val captures, by name.
        params: The stage's parameters.

    """
    return calibration.config(
        folder,
        data,
        images,
        normalized_by="the chip: normalization(mean, std) of the model script, on values from 0 to 255",
        network_input={"layout": "NHWC uint8 RGB", "from": [0, 0, 0], "to": [255, 255, 255]},
        domain=domain,
        file=params.calibration_file,
        calibset_size=len(images),
        batch_size=params.script.batch_size,
    )
