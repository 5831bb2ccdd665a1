"""Photos of a data set, on which a whole recognizer is measured: encoded pictures, each under a named condition.

photos.csv   name, condition, card_id, split   row by row; card_id is empty if a photo shows no card of the data set
photos.zip   the pictures by name, JPEG or PNG, stored without further compression

A data set without photos has neither file. Photos of the split test are measured, condition by condition; those of the
split val calibrate the score below which a picture shows none of the cards.
"""

import csv
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pokeflow.errors import PokeflowError

LIST, ARCHIVE = "photos.csv", "photos.zip"
MAX_BYTES = 40_000_000
"""Largest size of an encoded photo."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo: its name in the archive, its condition, the card that it shows (empty: none), and its split."""

    name: str
    condition: str
    card_id: str
    split: str


def write(folder: Path, photos: Iterable[tuple[Photo, bytes]]) -> None:
    """Write photos and their list into a data set's folder; nothing without photos."""
    rows: list[Photo] = []
    # Fixed dates and no compression: the same photos give the same bytes, and a JPEG does not shrink further.
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
        for photo, data in photos:
            archive.writestr(zipfile.ZipInfo(photo.name), data)
            rows.append(photo)
    if not rows:
        (folder / ARCHIVE).unlink()
        return
    with (folder / LIST).open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [field.name for field in fields(Photo)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_list(folder: Path) -> tuple[Photo, ...]:
    """Return the photos of a data set; none if it has no list. Raise a PokeflowError if the list is damaged."""
    file = folder / LIST
    if not file.exists():
        return ()
    try:
        with file.open(newline="", encoding="utf-8") as source:
            rows = list(csv.DictReader(source))
        if incomplete := next((number for number, row in enumerate(rows, 2) if None in row.values()), None):
            raise ValueError(f"line {incomplete} is incomplete")
        return tuple(Photo(**row) for row in rows)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise PokeflowError(f"{file}: not a list of photos ({error}). Prepare it again with force=[data].") from error


def read(folder: Path, photos: Sequence[Photo]) -> Iterator[bytes]:
    """Yield the encoded picture of each photo; raise a PokeflowError if one is missing, damaged or too large."""
    file = folder / ARCHIVE
    if not photos:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            for photo in photos:
                member = archive.getinfo(photo.name)
                # A compressed member could expand to any size.
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > MAX_BYTES:
                    raise ValueError(f"{photo.name} is compressed, or larger than {MAX_BYTES:,} bytes")
                yield archive.read(member)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise PokeflowError(f"{file}: cannot be read ({error}). Prepare it again with force=[data].") from error
