"""Input pictures of the compiler's emulator, and its embeddings at three stages of the network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pokeflow import PokeflowError
from pokeflow_hailo.compile.work import PreparedModel
from pokeflow_vision import npyfile
from pokeflow_vision.calibration import save_squares

if TYPE_CHECKING:
    from pokeflow_vision.comparison import Embeddings

STAGES = ("native", "fp_optimized", "quantized")
"""Stages of the network: as parsed, optimized in floating point, and quantized to the chip's integers."""
HEADER = 128
"""Bytes of the header of an ``.npy`` file."""


def write(folder: Path, work: PreparedModel) -> dict[str, Path]:
    """Write the val queries and all references as uint8 N×S×S×3, and return the files by name in the request."""
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
    """Return the size in bytes of an ``.npy`` file of float32 rows×dim."""
    return HEADER + rows * dim * 4


def read(folder: Path, work: PreparedModel) -> Mapping[str, "Embeddings"]:
    """Return (references, val queries) embeddings by stage; the first two stages use the float32 references."""
    queries = {stage: _read(folder / f"{stage}.npy", len(work.queries), work.graph.dim) for stage in STAGES}
    quantized = _read(folder / "quantized_references.npy", len(work.data.cards), work.graph.dim)
    return {stage: (quantized if stage == "quantized" else work.before[0], queries[stage]) for stage in STAGES}


def _read(file: Path, rows: int, dim: int) -> "np.ndarray":
    try:
        embeddings = npyfile.read(file)
    except (OSError, ValueError) as error:
        raise PokeflowError(
            f"{file.name}: not a valid output of the emulator ({error}). Run the same command again."
        ) from error
    if embeddings.dtype != np.float32 or embeddings.shape != (rows, dim):
        raise PokeflowError(
            f"{file.name}: the emulator wrote {embeddings.dtype}{list(embeddings.shape)}, not float32 [{rows}, {dim}]. "
            "Use Dataflow Compiler 3.33."
        )
    if not np.isfinite(embeddings).all():
        raise PokeflowError(
            f"{file.name}: the emulator wrote NaN or infinity at the stage {file.stem}. See its warnings in "
            "telemetry/compiler.log, and set another precision for the layers that they name."
        )
    return embeddings
