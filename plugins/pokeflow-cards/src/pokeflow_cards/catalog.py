"""The CSV of a folder of scans, and the path of each card's image. No picture is decoded here."""

import csv
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pokeflow import PokeflowError
from pokeflow.errors import unknown
from pokeflow_cards.params import FolderParams
from pokeflow_cards.splits import order
from pokeflow_vision.dataset import Card

COLUMNS = ("card_id", "name", "set", "number")
PLACEHOLDER = "{card_id}"
MAX_CSV = 256 * 1024 * 1024
# A card_id becomes part of a path: no separator, no drive letter, nothing invisible.
_UNSAFE = re.compile(r"[/\\:\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A card_id that the CSV repeats: the first row counts, this one does not."""

    card_id: str
    line: int
    name: str
    first_name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Cards of a CSV in its order, each id once; ``split`` is empty, ``artwork`` too unless the CSV has that column."""

    cards: tuple[Card, ...]
    repeats: tuple[Repeat, ...]
    has_artwork: bool


def read(content: bytes, params: FolderParams) -> Catalog:
    """Parse the CSV's bytes; raise a PokeflowError with the line for content that cannot be a list of cards."""
    first: dict[str, Card] = {}
    repeats: list[Repeat] = []
    rows = _rows(content, params.csv)
    _, header = next(rows, (1, []))
    column_index = _columns(header, params.csv)
    for line, row in rows:
        card = Card(
            **{column: row[i].strip() for column, i in column_index.items()},
            **({} if "artwork" in column_index else _NO_ART),
            split="",
        )
        _require_safe(card.card_id, f"{params.csv}: line {line}")
        if card.card_id in first:
            repeats.append(Repeat(card.card_id, line, card.name, first[card.card_id].name))
        else:
            first[card.card_id] = card
    if params.limit is not None:
        sampled = set(order(params.seed, first)[: params.limit])
        first = {card_id: card for card_id, card in first.items() if card_id in sampled}
    return Catalog(tuple(first.values()), tuple(repeats), "artwork" in column_index)


_NO_ART = {"artwork": ""}


def _rows(content: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each row that is not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PokeflowError(f"{name}: line {line} is not UTF-8 ({error.reason}). Save the file as UTF-8.") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PokeflowError(f"{name}: line {line} contains a NUL byte, so the file is not text. Export the CSV again.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    width = 0
    try:
        for row in reader:
            if not row:
                continue
            width = width or len(row)
            if len(row) != width:
                raise PokeflowError(
                    f"{name}: line {reader.line_num} has {len(row)} fields, the header has {width}. "
                    "Put a field that contains a comma in double quotes."
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise PokeflowError(f"{name}: line {reader.line_num}: {error}. Export the CSV again.") from error


def _columns(header: Sequence[str], name: str) -> dict[str, int]:
    names = [column.strip() for column in header]
    missing = [unknown(name, "column", column, names).message for column in COLUMNS if column not in names]
    if missing:
        raise PokeflowError(f"{name}: {' '.join(missing)} Name the columns in the first line.")
    selected = [column for column in (*COLUMNS, "artwork") if column in names]
    duplicates = [column for column in selected if names.count(column) > 1]
    if duplicates:
        raise PokeflowError(f"{name}: two columns are named {duplicates[0]!r}. Rename one of them.")
    return {column: names.index(column) for column in selected}


def _require_safe(card_id: str, location: str) -> None:
    if not card_id:
        raise PokeflowError(f"{location} has no card_id. Give every card an id.")
    if _UNSAFE.search(card_id) or card_id in {".", ".."} or len(card_id) > 200:
        raise PokeflowError(
            f"{location}: card_id {card_id[:60]!r} cannot be part of a file name: it has a slash, a colon or a control "
            "character, or is too long. Rename the card."
        )


def csv_bytes(params: FolderParams) -> bytes:
    """Return the CSV's bytes; raise a PokeflowError if it is missing, outside the root, no file or too large."""
    root = root_of(params)
    file, reason = _Locator(root).find(params.csv)
    if file is None:
        raise PokeflowError(f"{root / params.csv}: {reason}. Name the CSV with data.csv, relative to data.root.")
    if file.stat().st_size > MAX_CSV:
        raise PokeflowError(f"{file}: larger than {MAX_CSV:,} bytes, the limit for a list of cards.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise PokeflowError(f"{file}: cannot be read ({error.strerror}). Check its permissions.") from error


def root_of(params: FolderParams) -> Path:
    """Return the folder's absolute path with all links resolved."""
    return Path(params.root).expanduser().resolve()


def image_paths(params: FolderParams, cards: Sequence[Card]) -> Iterator[tuple[Card, str, Path | None, str]]:
    """Yield each card, its image's path within the root, the file to read (or None), and the reason if it is None."""
    locator = _Locator(root_of(params))
    for card in cards:
        relative = params.images.replace(PLACEHOLDER, card.card_id)
        file, reason = locator.find(relative)
        yield card, relative, file, reason


def outside(relative: str) -> bool:
    """Return whether a path leads out of a folder: absolute, or with a part ``..``."""
    parts = re.split(r"[/\\]", relative)
    return Path(relative).is_absolute() or parts[0] == "" or ".." in parts or bool(re.match(r"[A-Za-z]:", relative))


class _Locator:
    """Finder of regular files below a root; it refuses links that lead out of the root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Links are resolved once per folder: 17,592 cards share a few folders.
        self._real_folder = cache(os.path.realpath)

    def find(self, relative: str) -> tuple[Path | None, str]:
        """Return the file and an empty string, or None and the reason."""
        if outside(relative):
            return None, "is not below the root"
        plain = self.root / relative
        file = Path(self._real_folder(plain.parent)) / plain.name
        try:
            status = file.lstat()
            if stat.S_ISLNK(status.st_mode):
                file = file.resolve(strict=True)
                status = file.stat()
        except (OSError, RuntimeError) as error:
            return None, "no such file" if isinstance(error, FileNotFoundError) else f"cannot be opened ({error})"
        if not file.is_relative_to(self.root):
            return None, "is a link that leaves the root"
        # Reading a pipe or a device may block forever.
        return (file, "") if stat.S_ISREG(status.st_mode) else (None, "is not a file")
