"""Fingerprint of a folder of scans: one hash of the CSV and every image it lists, without paths or times.

Each image is hashed only once: a cache in the user's cache folder maps (size, mtime) to sha256, as git's index does.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pokeflow import PokeflowError, progress
from pokeflow_cards import catalog
from pokeflow_cards.params import FolderParams
from pokeflow_vision.dataset import Card

log = logging.getLogger(__name__)

RACY_NS = 2_000_000_000
"""Age in nanoseconds up to which a file is not cached: it may change without a new mtime, as clocks are coarse."""

Known = dict[str, list[Any]]
"""Cache entries: path within the root → [size in bytes, mtime_ns, sha256]."""


def hash_folder(params: FolderParams) -> str:
    """Return the sha256 of the CSV and of each used card's image; an unreadable image counts as ``unreadable``."""
    content = catalog.csv_bytes(params)
    cards = catalog.read(content, params).cards
    total = hashlib.sha256(hashlib.sha256(content).digest())
    for card_id, image in _images(params, cards):
        total.update(f"{card_id}\0{image}\0".encode())
    return total.hexdigest()


def _images(params: FolderParams, cards: Sequence[Card]) -> list[tuple[str, str]]:
    file = cache_file(catalog.root_of(params))
    cache = _read(file)
    result: list[tuple[str, str]] = []
    stale: list[tuple[int, str, Path]] = []
    for card, relative, image, _ in catalog.image_paths(params, cards):
        entry = cache.get(relative)
        status = _stat(image) if image else None
        if status and entry and entry[:2] == [status.st_size, status.st_mtime_ns]:
            result.append((card.card_id, entry[2]))
        else:
            if image and status:
                stale.append((len(result), relative, image))
            result.append((card.card_id, "unreadable"))
    if stale:
        fresh: Known = {}
        with progress.bar("hashing images", len(stale)) as advance, ThreadPoolExecutor(4) as pool:
            for (row, relative, _), (entry, cacheable) in zip(
                stale, pool.map(lambda item: _entry(item[2]), stale), strict=True
            ):
                if entry:
                    result[row] = (result[row][0], entry[2])
                if entry and cacheable:
                    fresh[relative] = entry
                advance()
        if fresh:
            _write(file, cache | fresh)
    return result


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _entry(file: Path) -> tuple[list[Any] | None, bool]:
    """Return [size, mtime_ns, sha256] of a file (None if it is unreadable), and whether it may be cached.

    Raises:
        PokeflowError: The file changed while it was read.

    """
    began = time.time_ns()
    try:
        with file.open("rb") as source:
            before = os.fstat(source.fileno())
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            after = os.fstat(source.fileno())
    except OSError:
        return None, False
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise PokeflowError(f"{file}: changed while it was read. Wait until the copy is complete.")
    return [after.st_size, after.st_mtime_ns, sha256], began - after.st_mtime_ns > RACY_NS


def cache_file(root: Path) -> Path:
    """Return the path of the cache with the hashes of a root's images."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification demands that a relative path is ignored.
    base = Path(home) if Path(home).is_absolute() else Path("~/.cache").expanduser()
    return base / "pokeflow" / f"fingerprints-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"


def _read(file: Path) -> Known:
    """Read the cache; return an empty one if it is missing or damaged."""
    try:
        raw = json.loads(file.read_bytes())
        return {path: [int(size), int(mtime), str(sha256)] for path, (size, mtime, sha256) in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _write(file: Path, entries: Known) -> None:
    """Replace the cache atomically; if that fails, the next call hashes the files again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump(entries, out)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        log.debug("%s: not written (%s)", file, error)
