"""What the compiler's emulator is shown, and what came of it at each of its three stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pokeflow import PokeflowError
from pokeflow_hailo.compile.work import Work
from pokeflow_vision import npyfile
from pokeflow_vision.calibration import save_squares

if TYPE_CHECKING:
    from pokeflow_vision.comparison import Embeddings

STAGES = ("native", "fp_optimized", "quantized")
"""The network as parsed, as rewritten in floats, and in the chip's integers."""
HEADER = 128
"""Bytes of an .npy before its values."""


def write(folder: Path, work: Work) -> dict[str, Path]:
    """The val queries and all references as uint8 N×S×S×3, by the names the compiler's side reads."""
    files = {}
    sides: dict[str, tuple[np.ndarray, Sequence[int]]] = {
        "queries.npy": (work.data.query_images, work.queries),
        "references.npy": (work.data.references, range(len(work.data.cards))),
    }
    for name, (images, rows) in sides.items():
        files[name] = folder / name
        save_squares(files[name], images, rows, work.data.preprocessing, files[name].stem)
    return files


def size(rows: int, dim: int) -> int:
    """Bytes of an .npy of float32 rows×dim."""
    return HEADER + rows * dim * 4


def read(folder: Path, work: Work) -> Mapping[str, "Embeddings"]:
    """By stage what it made of (references, val queries). The first two are held against the float32 references."""
    queries = {stage: _read(folder / f"{stage}.npy", len(work.queries), work.graph.dim) for stage in STAGES}
    own = _read(folder / "quantized_references.npy", len(work.data.cards), work.graph.dim)
    return {stage: (own if stage == "quantized" else work.before[0], queries[stage]) for stage in STAGES}


def _read(file: Path, rows: int, dim: int) -> "np.ndarray":
    try:
        found = npyfile.read(file)
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{file.name}: not what the emulator was to give ({error}). Run it again.") from error
    if found.dtype != np.float32 or found.shape != (rows, dim):
        raise PokeflowError(
            f"{file.name}: the emulator gives {found.dtype}{list(found.shape)}, not float32 [{rows}, {dim}]."
        )
    if not np.isfinite(found).all():
        raise PokeflowError(
            f"{file.name}: the emulator gives NaN or infinity at the stage {file.stem}. See its warnings in "
            "telemetry/compiler.log."
        )
    return found
