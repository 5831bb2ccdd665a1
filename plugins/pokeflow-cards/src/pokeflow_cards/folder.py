"""Scans from a folder: a CSV and one image file per card."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import PokeflowError, progress
from pokeflow_cards import catalog, fingerprint
from pokeflow_cards.params import MIN_CARDS, FolderParams
from pokeflow_cards.scans import LeftOut, Scans, array, shape
from pokeflow_vision.preprocessing import load_image

if TYPE_CHECKING:
    import numpy as np

    from pokeflow_vision.dataset import Card

MAX_LEFT_OUT = 0.05
BLOCK = 64
"""Number of pictures in progress at once; no more resized ones wait in memory."""


def scans(params: FolderParams, work: Path) -> Scans:
    """Read all cards of a folder, and resize their pictures into a file in ``work``.

    Raises:
        PokeflowError: More than 5 per cent of the cards are unreadable, or fewer than 20 are left.

    """
    table = catalog.csv_bytes(params)
    listing = catalog.read(table, params)
    images = list(catalog.image_paths(params, listing.cards))
    left_out = [LeftOut(card.card_id, path, reason) for card, path, file, reason in images if file is None]
    # Checked before hours of decoding, because the likeliest mistake is that most of the files are missing.
    _require_enough(len(images), left_out, params)
    readable = [(card, path, file) for card, path, file, _ in images if file is not None]
    references = array(work / "references.npy", max(1, len(readable)), params.preprocessing)
    cards: list[Card] = []
    files: list[Path] = []
    digests: list[str] = []
    read = [len(table)]
    with progress.bar("reading scans", len(readable)) as advance:
        for (card, path, file), outcome in zip(readable, _pictures([f for _, _, f in readable], params), strict=True):
            if isinstance(outcome, str):
                left_out.append(LeftOut(card.card_id, path, outcome))
            else:
                digest, references[len(cards)] = outcome
                read.append(file.stat().st_size)
                cards.append(card)
                files.append(file)
                digests.append(digest)
            advance()
    _require_enough(len(images), left_out, params)
    content = fingerprint.hash_folder(params)
    return Scans(
        name="folder",
        source={"sha256": content},
        cards=tuple(cards),
        has_artwork=listing.has_artwork,
        references=references[: len(cards)],
        digests=tuple(digests),
        left_out=tuple(left_out),
        repeats=listing.repeats,
        raw={"path": params.root, "fingerprint": content, "files": len(read), "size_bytes": sum(read)},
        original=lambda row: load_image(files[row]),
    )


def _require_enough(total: int, left_out: Sequence[LeftOut], params: FolderParams) -> None:
    bad, root = len(left_out), catalog.root_of(params)
    first = "; ".join(f"{item.file}: {item.reason}" for item in left_out[:3])
    if bad > MAX_LEFT_OUT * total:
        raise PokeflowError(
            f"{root}: {bad} of {total} cards have no usable image, more than {MAX_LEFT_OUT:.0%} ({first}). "
            "Complete the folder, remove these cards from the CSV, or correct data.images."
        )
    if total - bad < MIN_CARDS:
        omitted = f" ({bad} left out: {first})" if bad else ""
        raise PokeflowError(f"{root}: {total - bad} usable cards{omitted}; at least {MIN_CARDS} are needed. Add cards.")


def _pictures(files: Sequence[Path], params: FolderParams) -> "Iterator[tuple[str, np.ndarray] | str]":
    """Yield for each file its pixels' sha256 and the resized picture, uint8 H×W×3, or why it cannot be read."""
    height, width = shape(params.preprocessing)

    def decode(file: Path) -> "tuple[str, np.ndarray] | str":
        return _picture(file, height, width)

    # Decoding and resizing release the interpreter lock; four threads limit memory to four full-size pictures.
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(files), BLOCK):
            yield from pool.map(decode, files[start : start + BLOCK])


def _picture(file: Path, height: int, width: int) -> "tuple[str, np.ndarray] | str":
    import numpy as np
    from PIL import Image

    try:
        pixels = load_image(file)
    except PokeflowError as error:
        # Records are shared with others, so they must not reveal the folder's path on this machine.
        return str(error).removeprefix(f"{file}: ").replace(str(file), file.name)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on a damaged or hostile file
        return f"not a readable image ({type(error).__name__}: {error})"
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return digest.hexdigest(), np.asarray(small)
