"""Journal of the files that a migration has verified, one per line, so that the next run need not read them again.

A line is valid only as long as source and target have its ETags; without the journal, checksums are compared. A line
that was truncated by a kill is ignored.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A migrated and verified file, with its checksums before and after the replacement of old paths in it."""

    target: str
    origin: str
    source_etag: str
    source_sha256: str
    target_etag: str
    size: int
    sha256: str
    replacements: int = 0
    left: int = 0
    how: str = ""
    verified: str = ""
    note: str = ""


_decoder = msgspec.json.Decoder(JournalEntry)


@dataclass(slots=True)
class Journal:
    """Journal file of a migration; thread-safe."""

    file: Path
    known: dict[str, JournalEntry] = field(default_factory=dict)
    _out: BinaryIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: JournalEntry) -> None:
        """Append a line without buffering, so that it survives a kill of this process."""
        with self._lock:
            if self._out is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._out = self.file.open("ab", buffering=0)
                # End a line that was truncated by a kill, so that the new one begins on a line of its own.
                if self._out.tell():
                    self._out.write(b"\n")
            self._out.write(msgspec.json.encode(entry) + b"\n")
            self.known[entry.target] = entry

    def close(self) -> None:
        """Close the file."""
        if self._out is not None:
            self._out.close()
            self._out = None


def read(folder: Path) -> Journal:
    """Read the journal of a folder, skipping invalid lines; it is empty if the file does not exist."""
    journal = Journal(folder / NAME)
    try:
        with journal.file.open("rb") as lines:
            for line in lines:
                try:
                    entry = _decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    continue
                journal.known[entry.target] = entry
    except FileNotFoundError:
        pass
    return journal
