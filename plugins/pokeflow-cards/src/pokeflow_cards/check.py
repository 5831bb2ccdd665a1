"""Checks of the parameters before anything runs, as (parameter, message) pairs. No picture is decoded."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pokeflow import PokeflowError
from pokeflow.errors import unknown
from pokeflow_cards import catalog
from pokeflow_cards.params import CONDITIONS, MIN_CARDS, FolderParams, Photos, Queries, SyntheticParams
from pokeflow_vision.preprocessing import Preprocessing

MAX_STRENGTH = 3.0


def check_synthetic(params: SyntheticParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of a drawn deck's parameters."""
    if params.cards < MIN_CARDS:
        yield "cards", f"{params.cards} is below {MIN_CARDS}: no card would be left for the test split"
    if not 0 <= params.twins <= 0.5:
        yield "twins", f"{params.twins} is not a share from 0 to 0.5"
    yield from _common(params.seed, params.queries, params.preprocessing)
    yield from _photos(params.photos)


def check_folder(params: FolderParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of a scan folder's parameters; reads the folder and its CSV."""
    if params.limit is not None and params.limit < MIN_CARDS:
        yield "limit", f"{params.limit} is below {MIN_CARDS}: no card would be left for the test split"
    if not 0 <= params.near_duplicates <= 128:
        yield "near_duplicates", f"{params.near_duplicates} is not from 0 to 128 bits (of 256)"
    yield from _common(params.seed, params.queries, params.preprocessing)
    yield from _photos(params.photos)
    yield from _images(params)
    try:
        yield from _source(params)
    except (OSError, RuntimeError, ValueError) as error:
        yield "root", f"cannot be read: {error}"


def _source(params: FolderParams) -> Iterable[tuple[str, str]]:
    root = Path(params.root).expanduser()
    if not root.is_dir():
        fault = "not a folder" if root.exists() else "no such folder"
        yield "root", f"{fault}: {params.root} (looked in {root.absolute()})"
        return
    if catalog.outside(params.csv):
        yield "csv", f"{params.csv!r} must be a relative path below root, without '..'"
        return
    try:
        cards = catalog.read(catalog.csv_bytes(params), replace(params, limit=None)).cards
    except PokeflowError as error:
        yield "csv", str(error)
        return
    if len(cards) < MIN_CARDS:
        yield "csv", f"{params.csv} lists {len(cards)} different cards; at least {MIN_CARDS} are needed"


def _images(params: FolderParams) -> Iterable[tuple[str, str]]:
    if catalog.outside(params.images):
        yield "images", f"{params.images!r} must be a relative path below root, without '..'"
    literal = params.images.replace(catalog.PLACEHOLDER, "")
    if literal == params.images:
        yield "images", f"{params.images!r} does not contain {catalog.PLACEHOLDER}, which stands for the card's id"
    if set(literal) & set("{}\0"):
        yield "images", f"{params.images!r}: {catalog.PLACEHOLDER} is the only placeholder"


def _photos(photos: Photos) -> Iterable[tuple[str, str]]:
    if photos.cards < 0:
        yield "photos.cards", f"{photos.cards} is below 0"
    for name in photos.conditions:
        if name not in CONDITIONS:
            yield "photos.conditions", unknown("", "condition", name, CONDITIONS).message
    if len(set(photos.conditions)) < len(photos.conditions):
        yield "photos.conditions", "names a condition twice"


def _common(seed: int, queries: Queries, preprocessing: Preprocessing) -> Iterable[tuple[str, str]]:
    if not 0 <= seed < 2**63:
        yield "seed", f"{seed} is not from 0 to 2⁶³ − 1"
    if not 1 <= queries.views <= 1000:
        yield "queries.views", f"{queries.views} is not from 1 to 1000: accuracy is measured on these views"
    if queries.calibration < 0:
        yield "queries.calibration", f"{queries.calibration} is below 0"
    if not (math.isfinite(queries.strength) and 0 <= queries.strength <= MAX_STRENGTH):
        yield "queries.strength", f"{queries.strength} is not from 0 (clean) to {MAX_STRENGTH}"
    if not 16 <= preprocessing.size <= 1024:
        yield "preprocessing.size", f"{preprocessing.size} is not from 16 to 1024 pixels"
    if not all(math.isfinite(mean) for mean in preprocessing.mean):
        yield "preprocessing.mean", f"{list(preprocessing.mean)} must all be finite numbers"
    if not all(math.isfinite(std) and std > 0 for std in preprocessing.std):
        yield "preprocessing.std", f"{list(preprocessing.std)} must all be above 0"
