"""Calibration sets, common to all targets: selection, storage, checks and description."""

import hashlib
import os.path
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow_vision import npyfile, preprocessing, retrieval
from pokeflow_vision.dataset import CALIBRATION, Dataset
from pokeflow_vision.network import Network, embed

if TYPE_CHECKING:
    import numpy as np

    from pokeflow_vision.comparison import Embeddings

FILE, CONFIG = "calibration_dataset.npy", "calibration_config.json"
MIN_CAPTURES = 32
"""Fewest pictures of a calibration set: fewer do not show the range of activations reliably."""
MAX_DISTANCE = 2.0
"""Largest allowed distance of a calibration set's mean from that of the val captures, in standard deviations."""
MAX_COMPARED = 256
"""Largest number of pictures of each side that are compared: more would hardly change a mean."""


class Params(Protocol):
    """Parameters of a backend that calibrates: the number of captures, or a file of the user's own pictures.

    ``calibration_images`` is the number of captures of train cards; None uses all in the data set.
    ``calibration_file`` is an .npy of uint8 N×size×size×3 RGB that replaces them: pictures of the actual camera.
    """

    @property
    def calibration_images(self) -> int | None:
        """Number of pictures to calibrate on; None uses all."""

    @property
    def calibration_file(self) -> str | None:
        """Path of an .npy with the user's own pictures, or None."""


def check(params: Params) -> Iterable[tuple[str, str]]:
    """Yield the faults of the calibration's parameters as (parameter, message) pairs, for a backend's ``check``."""
    if params.calibration_images is not None and params.calibration_images < 1:
        yield "calibration_images", f"{params.calibration_images} is below 1"
    if params.calibration_file is not None and not os.path.isfile(params.calibration_file):  # noqa: PTH113 - of any name
        yield "calibration_file", f"no file {params.calibration_file[:200]!r}"


def fingerprint(params: Params) -> str:
    """Return the sha256 of the parameters' calibration file, or an empty string if they name no file."""
    if params.calibration_file is None:
        return ""
    try:
        return _sha256(Path(params.calibration_file))
    except OSError as error:
        raise PokeflowError(
            f"{params.calibration_file}: cannot be read ({error}). Name a readable .npy file."
        ) from error


def rows(data: Dataset, requested: int | None) -> list[int]:
    """Return query rows spread evenly over the calibration split, in order.

    Args:
        data: The data set.
        requested: Number of rows; None returns all.

    Raises:
        PokeflowError: The split has fewer than ``requested`` rows, or fewer than ``MIN_CAPTURES`` if that is None.

    """
    captures = data.queries_of(CALIBRATION)
    count = max(len(captures), MIN_CAPTURES) if requested is None else requested
    if len(captures) < count:
        raise PokeflowError(
            f"target.compile.params.calibration_images: {count} are needed, the data set has {len(captures)} "
            f"calibration captures. Raise data.queries.calibration, or lower this parameter."
        )
    return [captures[i * len(captures) // count] for i in range(count)]


def write(folder: Path, data: Dataset, images: int | None, file: str | None = None) -> "np.ndarray":
    """Write the calibration set as an .npy, and return it memory-mapped.

    Args:
        folder: Folder that receives the file.
        data: The data set.
        images: Number of pictures; None uses all.
        file: An .npy of the user's own pictures, which replace the captures of the data set.

    Returns:
        The pictures, uint8 N×size×size×3 RGB, 0 to 255, resized and not yet normalized.

    """
    import numpy as np

    spec = data.preprocessing
    pictures, chosen = (
        (data.query_images, rows(data, images)) if file is None else _read_own_pictures(file, images, spec)
    )
    save_squares(folder / FILE, pictures, chosen, spec, "calibration images")
    return np.asarray(np.load(folder / FILE, mmap_mode="r", allow_pickle=False))


def save_squares(
    file: Path, pictures: "np.ndarray", rows: Sequence[int], spec: preprocessing.Preprocessing, label: str
) -> None:
    """Write rows of an array of pictures as an .npy of uint8 n×size×size×3, resized and not yet normalized.

    Args:
        file: The .npy to write.
        pictures: Uint8 N×H×W×3 RGB.
        rows: The n rows of ``pictures`` to write, in this order.
        spec: Preprocessing that sets the size.
        label: Label of the progress bar.

    """
    import numpy as np

    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), spec.size, spec.size, 3)}
    # Written picture by picture: a full disk then raises an error; with a mapped file it would kill the process.
    with file.open("wb") as out, progress.bar(label, len(rows)) as advance:
        np.lib.format.write_array_header_1_0(out, header)
        for row in rows:
            out.write(preprocessing.to_square(pictures[[row]], spec).tobytes())
            advance()


def _read_own_pictures(
    file: str, images: int | None, spec: preprocessing.Preprocessing
) -> tuple["np.ndarray", Sequence[int]]:
    import numpy as np

    try:
        pictures = npyfile.read(Path(file), memory_map=True)
    except (OSError, ValueError) as error:
        raise PokeflowError(
            f"{file}: not a readable .npy array of numbers ({error}). Write it with numpy.save."
        ) from error
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (spec.size, spec.size, 3):
        raise PokeflowError(
            f"{file}: contains {pictures.dtype}{list(pictures.shape)}; a calibration set is uint8 [N, {spec.size}, "
            f"{spec.size}, 3], RGB, 0 to 255, not normalized."
        )
    least = images or MIN_CAPTURES
    if len(pictures) < least:
        raise PokeflowError(f"{file}: contains {len(pictures)} pictures, but {least} are needed. Add more.")
    count = images or len(pictures)
    return pictures, [i * len(pictures) // count for i in range(count)]


def require_in_domain(
    pictures: "np.ndarray", data: Dataset, network: Network | None = None, reference: "Embeddings | None" = None
) -> dict[str, float]:
    """Return the distance of the calibration set from the val captures; raise an error if it is too large.

    Each metric is a difference of means in pooled standard deviations (Cohen's d): of every channel's mean and
    spread, and, with ``network`` and ``reference``, of the cosine to the nearest reference. Only the last one detects
    that red and blue are swapped.

    Args:
        pictures: The calibration set, uint8 N×H×W×3 RGB.
        data: The data set.
        network: The float32 network, or None.
        reference: That network's embeddings of the references and of the val queries, or None.

    Returns:
        The distances by name, rounded to four digits.

    Raises:
        PokeflowError: A distance exceeds ``MAX_DISTANCE``: the pictures show something else than the captures.

    """
    captures = data.queries_for("val", "compile")
    spec = data.preprocessing
    sides = [
        _channel_statistics(preprocessing.to_square(images[_sample_rows(rows)], spec))
        for images, rows in ((pictures, range(len(pictures))), (data.query_images, captures))
    ]
    names = [f"{channel}_{statistic}" for statistic in ("mean", "spread") for channel in ("red", "green", "blue")]
    distances = dict(zip(names, _cohens_d(*sides), strict=True))
    if network is not None and reference is not None:
        embeddings = embed(network, pictures, _sample_rows(range(len(pictures))), spec, "calibration set")
        nearest = [retrieval.nearest(queries, reference[0], 1)[1] for queries in (embeddings, reference[1])]
        distances["nearest_cosine"] = min(0.0, *_cohens_d(*nearest))  # being nearer than the captures is not a fault
    excessive = {name: value for name, value in distances.items() if not abs(value) <= MAX_DISTANCE}
    if excessive:
        listing = ", ".join(f"{name} {value:+.1f}" for name, value in excessive.items())
        raise PokeflowError(
            f"calibration: these {len(pictures)} pictures are not like the val captures: {listing} standard "
            f"deviations apart; {MAX_DISTANCE:g} is the limit. Their ranges would not fit the camera. Calibrate on "
            "captures of cards, RGB, not normalized."
        )
    return {name: round(value, 4) for name, value in distances.items()}


def _sample_rows(rows: Sequence[int]) -> list[int]:
    count = min(len(rows), MAX_COMPARED)
    return [rows[i * len(rows) // count] for i in range(count)]


def _channel_statistics(squares: "np.ndarray") -> "np.ndarray":
    """Return mean and standard deviation of each channel of uint8 N×H×W×3 pictures, float32 N×6."""
    import numpy as np

    pixels = squares.reshape(len(squares), -1, 3).astype(np.float32)
    return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)


def _cohens_d(first: "np.ndarray", second: "np.ndarray") -> list[float]:
    """Return the difference of means in pooled standard deviations (Cohen's d) for each column of N×K and M×K."""
    import numpy as np

    deviations = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2)
    differences = first.mean(axis=0) - second.mean(axis=0)
    # Identical pictures have no standard deviation to scale by: the lower bound avoids a division by zero.
    return [float(a / max(p, 1e-3)) for a, p in zip(differences, deviations, strict=True)]


def host_normalization(spec: preprocessing.Preprocessing) -> dict[str, Any]:
    """Return the arguments of ``config`` for a target whose network takes floats that the host normalizes.

    They name who normalizes, and the network's input for the channel values 0 and 255.
    """
    import numpy as np

    dark, light = (np.full((1, 1, 1, 3), grey, np.uint8) for grey in (0, 255))
    ends = {name: preprocessing.normalize(end, spec).ravel().tolist() for name, end in (("from", dark), ("to", light))}
    return {
        "normalized_by": "the host, before the graph: (x / 255 - mean) / std with preprocessing.json",
        "network_input": {"layout": "NCHW float32 RGB", **ends},
    }


def config(
    folder: Path,
    data: Dataset,
    pictures: "np.ndarray",
    *,
    normalized_by: str,
    network_input: Mapping[str, Any],
    domain: Mapping[str, float],
    file: str | None = None,
    reasons: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the description of a calibration, so that others can repeat or question it.

    ``shape``, ``layout`` and ``range`` describe the array, ``sha256`` is its file's checksum.

    Args:
        folder: Folder that holds the calibration set's file.
        data: The data set.
        pictures: The calibration set, uint8 N×size×size×3 RGB.
        normalized_by: Who normalizes the pictures, and by which formula.
        network_input: The network's input that the array is converted to: layout, dtype and range.
        domain: Distances from the val captures, of ``require_in_domain``.
        file: File of the user's own pictures; None for captures of the data set.
        reasons: A reason for each null value in ``more``.
        more: Values of the calibration method.

    """
    seed = None if file else data.about.get("seed")
    seed_reason = (
        "the user supplied the pictures; none were drawn"
        if file
        else "the data set does not say which seed its captures were drawn from"
    )
    return {
        "file": FILE,
        "shape": list(pictures.shape),
        "dtype": "uint8",
        "layout": "NHWC RGB",
        "range": [0, 255],
        "sha256": _sha256(folder / FILE),
        "resized_by": "pokeflow, to the network's input; the array needs no further resizing",
        "normalized_by": normalized_by,
        "network_input": dict(network_input),
        "source": "the user's own pictures (calibration_file)"
        if file
        else f"{CALIBRATION} queries of the data set: {data.about['queries']}",
        "seed": seed,
        "count": len(pictures),
        "preprocessing": data.preprocessing.hash,
        "domain": dict(domain),
        **more,
        "reasons": {**({} if seed is not None else {"seed": seed_reason}), **(reasons or {})},
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
