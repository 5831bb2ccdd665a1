"""What a network is calibrated on, the same for every target: chosen, kept, checked, and described."""

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
LEAST_CAPTURES = 32
"""Fewer say too little of how far activations reach."""
FURTHEST = 2.0
"""Standard deviations that the mean of a calibration set may lie from that of the captures to be recognised."""
LOOKED_AT = 256
"""Pictures of each side that are compared: more would not move a mean by much."""


class Params(Protocol):
    """The parameters of a backend that calibrates: how many captures, or an array of one's own.

    ``calibration_images`` asks for that many captures of train cards; None takes all that the data set has.
    ``calibration_file`` is an .npy of uint8 N×size×size×3 RGB that takes their place: pictures of the very camera.
    """

    @property
    def calibration_images(self) -> int | None:
        """How many."""

    @property
    def calibration_file(self) -> str | None:
        """Where one's own lie."""


def check(params: Params) -> Iterable[tuple[str, str]]:
    """Faults of the calibration's parameters, as a backend's ``check`` tells them."""
    if params.calibration_images is not None and params.calibration_images < 1:
        yield "calibration_images", f"{params.calibration_images} is below 1"
    if params.calibration_file is not None and not os.path.isfile(params.calibration_file):  # noqa: PTH113 - of any name
        yield "calibration_file", f"no file {params.calibration_file[:200]!r}"


def fingerprint(params: Params) -> str:
    """The content of the file that the parameters point to; empty where they name none."""
    if params.calibration_file is None:
        return ""
    try:
        return _sha256(Path(params.calibration_file))
    except OSError as error:
        raise PokeflowError(f"{params.calibration_file}: cannot be read ({error}).") from error


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


def write(folder: Path, data: Dataset, images: int | None, file: str | None = None) -> "np.ndarray":
    """Keep the calibration set as uint8 N×size×size×3, resized and not yet normalised; returns it memory-mapped."""
    import numpy as np

    spec = data.preprocessing
    pictures, chosen = (data.query_images, rows(data, images)) if file is None else _own(file, images, spec)
    save_squares(folder / FILE, pictures, chosen, spec, "calibration images")
    return np.asarray(np.load(folder / FILE, mmap_mode="r", allow_pickle=False))


def save_squares(
    file: Path, pictures: "np.ndarray", rows: Sequence[int], spec: preprocessing.Preprocessing, label: str
) -> None:
    """Keep these rows of uint8 N×H×W×3 pictures as an .npy of uint8 n×size×size×3, resized and not yet normalised."""
    import numpy as np

    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), spec.size, spec.size, 3)}
    # One after the other: a full disk is then an error, under a mapped file it would kill the process unheard.
    with file.open("wb") as out, progress.bar(label, len(rows)) as advance:
        np.lib.format.write_array_header_1_0(out, header)
        for row in rows:
            out.write(preprocessing.to_square(pictures[[row]], spec).tobytes())
            advance()


def _own(file: str, images: int | None, spec: preprocessing.Preprocessing) -> tuple["np.ndarray", Sequence[int]]:
    import numpy as np

    try:
        found = npyfile.read(Path(file), mapped=True)
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{file}: not a readable .npy of numbers ({error}).") from error
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[1:] != (spec.size, spec.size, 3):
        raise PokeflowError(
            f"{file}: holds {found.dtype}{list(found.shape)}; a calibration set is uint8 [N, {spec.size}, {spec.size}, "
            "3], RGB, 0 to 255, not normalised."
        )
    least = images or LEAST_CAPTURES
    if len(found) < least:
        raise PokeflowError(f"{file}: holds {len(found)} pictures, {least} are needed. Take more.")
    count = images or len(found)
    return found, [i * len(found) // count for i in range(count)]


def require_in_domain(
    shown: "np.ndarray", data: Dataset, network: Network | None = None, known: "Embeddings | None" = None
) -> dict[str, float]:
    """How far the calibration set lies from the val captures; PokeflowError where it is of something else.

    Each figure is a difference of means in pooled standard deviations (Cohen's d): of every channel's mean and
    spread, and, given the float32 network and what it makes of (references, val queries), of the cosine to the
    nearest reference. A swap of red and blue is seen by the last alone.
    """
    captures = data.asked_of("val", "compile")
    spec = data.preprocessing
    sides = [
        _looks(preprocessing.to_square(images[_spread(of)], spec))
        for images, of in ((shown, range(len(shown))), (data.query_images, captures))
    ]
    names = [f"{channel}_{what}" for what in ("mean", "spread") for channel in ("red", "green", "blue")]
    found = dict(zip(names, _apart(*sides), strict=True))
    if network is not None and known is not None:
        asked = embed(network, shown, _spread(range(len(shown))), spec, "calibration set")
        nearest = [retrieval.nearest(queries, known[0], 1)[1] for queries in (asked, known[1])]
        found["nearest_cosine"] = min(0.0, *_apart(*nearest))  # nearer than the captures is no fault
    far = {name: value for name, value in found.items() if not abs(value) <= FURTHEST}
    if far:
        told = ", ".join(f"{name} {value:+.1f}" for name, value in far.items())
        raise PokeflowError(
            f"calibration: these {len(shown)} pictures are not like the val captures: {told} standard deviations "
            f"apart, {FURTHEST:g} are allowed. Ranges of them would not fit what the camera sees: calibrate on "
            "captures of cards, RGB, not normalised."
        )
    return {name: round(value, 4) for name, value in found.items()}


def _spread(of: Sequence[int]) -> list[int]:
    count = min(len(of), LOOKED_AT)
    return [of[i * len(of) // count] for i in range(count)]


def _looks(squares: "np.ndarray") -> "np.ndarray":
    """Mean and spread of each channel of each picture, N×6."""
    import numpy as np

    pixels = squares.reshape(len(squares), -1, 3).astype(np.float32)
    return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)


def _apart(first: "np.ndarray", second: "np.ndarray") -> list[float]:
    """Differences of means in pooled standard deviations, by column."""
    import numpy as np

    pooled = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2)
    apart = first.mean(axis=0) - second.mean(axis=0)
    # Pictures that do not differ among one another at all have no scale but that of a grey level.
    return [float(a / max(p, 1e-3)) for a, p in zip(apart, pooled, strict=True)]


def by_host(spec: preprocessing.Preprocessing) -> dict[str, Any]:
    """What ``config`` is told by a target whose network takes normalised floats: by whom, and what 0 and 255 become."""
    import numpy as np

    dark, light = (np.full((1, 1, 1, 3), grey, np.uint8) for grey in (0, 255))
    ends = {name: preprocessing.normalize(end, spec).ravel().tolist() for name, end in (("from", dark), ("to", light))}
    return {
        "normalised_by": "the host, before the graph: (x / 255 - mean) / std with preprocessing.json",
        "network_input": {"layout": "NCHW float32 RGB", **ends},
    }


def config(
    folder: Path,
    data: Dataset,
    shown: "np.ndarray",
    *,
    normalised_by: str,
    network_input: Mapping[str, Any],
    domain: Mapping[str, float],
    file: str | None = None,
    reasons: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the network was calibrated on, for whoever must repeat or doubt it.

    ``shape``, ``layout`` and ``range`` are the array's, ``sha256`` its file's. ``network_input`` is what becomes of
    it, ``domain`` how far it lies from the val captures, ``more`` the method's own. A null has its reason in
    ``reasons``.
    """
    seed = None if file else data.about.get("seed")
    why = "they were given, not drawn" if file else "the data set does not say which seed its captures were drawn from"
    return {
        "file": FILE,
        "shape": list(shown.shape),
        "dtype": "uint8",
        "layout": "NHWC RGB",
        "range": [0, 255],
        "sha256": _sha256(folder / FILE),
        "resized_by": "pokeflow, to the network's input; the array needs no further resizing",
        "normalised_by": normalised_by,
        "network_input": dict(network_input),
        "source": "pictures of one's own (calibration_file)"
        if file
        else f"{CALIBRATION} queries of the data set: {data.about['queries']}",
        "seed": seed,
        "count": len(shown),
        "preprocessing": data.preprocessing.hash,
        "domain": dict(domain),
        **more,
        "reasons": {**({} if seed is not None else {"seed": why}), **(reasons or {})},
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
