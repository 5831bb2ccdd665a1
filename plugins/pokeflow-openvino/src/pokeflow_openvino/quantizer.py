"""NNCF in a process of its own: ``python -m pokeflow_openvino.quantizer REQUEST``, a line on stdout for each picture.

NNCF replaces the class of every logger to come, prints, and imports PyTorch where it is installed: here that touches
nobody, and PyTorch cannot be imported. That its use is told to nobody is seen to where OpenVINO is imported.
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
    """What is quantised, and how: ``folder`` holds the pictures and their preprocessing, and takes the network."""

    source: str
    folder: str
    preset: str
    accurate_bias: bool

    def dump(self) -> str:
        """The request as the argument of this program."""
        return json.dumps(asdict(self))


def main(request: Request) -> None:
    """Quantise and save; whatever NNCF prints goes to stderr."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.modules["torch"] = None  # type: ignore[assignment]  # None is how an import is barred
    import nncf
    import openvino

    folder = Path(request.folder)
    spec = preprocessing.read(folder)
    pictures = np.load(folder / calibration.FILE, mmap_mode="r", allow_pickle=False)
    waiting = iter(range(len(pictures)))

    def shown(row: int) -> dict[str, "np.ndarray"]:
        if next(waiting, None) is not None:  # the first time that all are asked for is what is told
            told.write(f"{row}\n")
        return {INPUT: preprocessing.normalize(pictures[[row]], spec)}

    model = nncf.quantize(
        openvino.convert_model(request.source),
        nncf.Dataset(range(len(pictures)), shown),
        preset=nncf.QuantizationPreset(request.preset),
        subset_size=len(pictures),
        fast_bias_correction=not request.accurate_bias,
    )
    _name_by_place(model)
    try:
        openvino.save_model(model, folder / FILE)
    except RuntimeError as error:  # OpenVINO tells of its stream, not of the disk
        raise SystemExit(f"{folder / FILE} cannot be written; is there room on the disk? {error}") from error


def _name_by_place(model: "Model") -> None:
    """Name by its place what has no name: OpenVINO counts all it ever made, and makes more on some processors."""
    for place, op in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Z][A-Za-z]*_\d+", op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}@{place}")


if __name__ == "__main__":
    main(Request(**json.loads(sys.argv[1])))
