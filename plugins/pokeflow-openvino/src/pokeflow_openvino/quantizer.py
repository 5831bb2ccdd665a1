"""Program that runs NNCF in its own process: ``python -m pokeflow_openvino.quantizer REQUEST``.

It writes one line to stdout for each picture, as progress. NNCF replaces the class of all later loggers, prints, and
imports PyTorch if it is installed. In a separate process that affects no other code, and PyTorch's import is blocked.
``pokeflow_openvino.network`` disables the telemetry, where it imports OpenVINO.
"""

import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pokeflow_openvino.network import FILE
from pokeflow_vision import calibration, preprocessing
from pokeflow_vision.onnx_network import INPUT

if TYPE_CHECKING:
    from openvino import Model


@dataclass(frozen=True, slots=True)
class Request:
    """Request to quantize ``source``: ``folder`` holds the pictures and their preprocessing and receives the result."""

    source: str
    folder: str
    preset: str
    accurate_bias: bool

    def dump(self) -> str:
        """Return the request as JSON, the argument of this program."""
        return json.dumps(asdict(self))


def main(request: Request) -> None:
    """Quantize and save a network; the output that NNCF prints goes to stderr."""
    progress = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.modules["torch"] = None  # type: ignore[assignment]  # None is how an import is barred
    import nncf
    import openvino

    folder = Path(request.folder)
    spec = preprocessing.read(folder)
    pictures = np.load(folder / calibration.FILE, mmap_mode="r", allow_pickle=False)
    remaining = iter(range(len(pictures)))

    def load_input(row: int) -> dict[str, "np.ndarray"]:
        if next(remaining, None) is not None:  # only the first pass over the pictures is reported
            progress.write(f"{row}\n")
        return {INPUT: preprocessing.normalize(pictures[[row]], spec)}

    model = nncf.quantize(
        openvino.convert_model(request.source),
        nncf.Dataset(range(len(pictures)), load_input),
        preset=nncf.QuantizationPreset(request.preset),
        subset_size=len(pictures),
        fast_bias_correction=not request.accurate_bias,
    )
    _name_by_position(model)
    try:
        openvino.save_model(model, folder / FILE)
    except RuntimeError as error:  # OpenVINO's message names its stream, not the disk
        raise SystemExit(f"{folder / FILE} cannot be written. Check the free space on the disk ({error}).") from error


def _name_by_position(model: "Model") -> None:
    """Name operators without a name of their own by their position in the graph.

    OpenVINO's default names count all operators that it ever created, and it creates more on some processors.
    """
    for position, op in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Z][A-Za-z]*_\d+", op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}@{position}")


if __name__ == "__main__":
    main(Request(**json.loads(sys.argv[1])))
