"""The folder of photographs: its items, its faults, and the fingerprint of its content."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pokeflow_photos.params import PrepareParams

MIN_ITEMS = 20
"""Fewest items: with fewer the test split would be empty."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def items(root: str) -> dict[str, list[Path]]:
    """Return the photographs of each item, by the name of its folder; the first one is the reference."""
    folders = sorted(path for path in Path(root).expanduser().iterdir() if path.is_dir())
    return {f.name: sorted(p for p in f.iterdir() if p.suffix.lower() in SUFFIXES) for f in folders}


def check(params: PrepareParams) -> Iterator[tuple[str, str]]:
    """Yield the faults of the folder as (parameter, message) pairs; no picture is decoded."""
    if not Path(params.root).expanduser().is_dir():
        yield "root", f"no such folder: {params.root}"
        return
    photos = items(params.root)
    if len(photos) < MIN_ITEMS:
        yield "root", f"{params.root} holds {len(photos)} items; at least {MIN_ITEMS} are needed"
    if few := [name for name, files in photos.items() if len(files) < 2]:
        yield "root", f"{', '.join(few[:3])}: a reference and at least one other photograph are needed"


def fingerprint(params: PrepareParams) -> str:
    """Return one SHA-256 of all names and bytes, so that a changed photograph changes the digest."""
    total = hashlib.sha256()
    for name, files in items(params.root).items():
        for file in files:
            total.update(f"{name}/{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()
