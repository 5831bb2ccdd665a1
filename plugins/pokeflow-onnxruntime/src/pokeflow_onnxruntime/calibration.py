"""What a network is calibrated on: which captures, as the array that is kept, and what must be known to use it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from pokeflow import PokeflowError, progress
from pokeflow.images import preprocessing
from pokeflow.images.dataset import CALIBRATION, Dataset

if TYPE_CHECKING:
    from pokeflow_onnxruntime import CompileParams

FILE = "calibration_dataset.npy"
LEAST_CAPTURES = 32
"""Fewer say too little of how far activations reach."""


def rows(data: Dataset, asked: int | None) -> list[int]:
    """Query rows spread evenly over the calibration split, in order: as many as asked for, or all (None)."""
    found = data.queries_of(CALIBRATION)
    count = max(len(found), LEAST_CAPTURES) if asked is None else asked
    if len(found) < count:
        raise PokeflowError(
            f"target.compile.params.calibration_images: {count} are needed, the data set has {len(found)} calibration "
            f"captures. Raise data.queries.calibration, or lower this."
        )
    return [found[i * len(found) // count] for i in range(count)]


def write(folder: Path, data: Dataset, chosen: Sequence[int]) -> "np.ndarray":
    """Keep these queries as uint8 N×size×size×3, resized and not yet normalised; returns them memory-mapped."""
    spec = data.preprocessing
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), spec.size, spec.size, 3)}
    # One after the other: a full disk is then an error, under a mapped file it would kill the process unheard.
    with (folder / FILE).open("wb") as out, progress.bar("calibration images", len(chosen)) as advance:
        npy.write_array_header_1_0(out, header)
        for row in chosen:
            out.write(preprocessing.to_square(data.query_images[[row]], spec).tobytes())
            advance()
    return np.asarray(np.load(folder / FILE, mmap_mode="r", allow_pickle=False))


def config(folder: Path, data: Dataset, shape: Sequence[int], params: "CompileParams") -> dict[str, Any]:
    """What the network was calibrated on, for whoever must repeat or doubt it.

    ``shape``, ``layout`` and ``range`` are the array's, ``sha256`` its file's. ``network_input`` is what becomes of
    it: ``from`` and ``to`` are 0 and 255 per channel. A null has its reason in ``reasons``.
    """
    spec = data.preprocessing
    ends = preprocessing.normalize(np.asarray([0, 255], np.uint8)[:, None, None, None].repeat(3, 3), spec)[..., 0, 0]
    with (folder / FILE).open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    seed, percentile = data.about.get("seed"), params.percentile if params.method == "percentile" else None
    reasons = {
        "seed": "the data set does not say which seed its captures were drawn from",
        "percentile": f"the method {params.method} does not read it",
    }
    unknown = [name for name, value in (("seed", seed), ("percentile", percentile)) if value is None]
    return {
        "file": FILE,
        "shape": list(shape),
        "dtype": "uint8",
        "layout": "NHWC RGB",
        "range": [0, 255],
        "sha256": sha256,
        "resized_by": "pokeflow, to the network's input; the array needs no further resizing",
        "normalised_by": "the host, before the graph: (x / 255 - mean) / std with preprocessing.json",
        "network_input": {"layout": "NCHW float32 RGB", "from": ends[0].tolist(), "to": ends[1].tolist()},
        "source": f"{CALIBRATION} queries of the data set: {data.about['queries']}",
        "seed": seed,
        "count": shape[0],
        "preprocessing": spec.hash,
        "method": params.method,
        "percentile": percentile,
        "batch_size": params.batch_size,
        "reasons": {name: reasons[name] for name in unknown},
    }
