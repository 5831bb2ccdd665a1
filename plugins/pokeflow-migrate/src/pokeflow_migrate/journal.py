"""What a migration has done so far, line by line, so that the next run need not read it again.

A line is believed only while source and target have the etags that it tells; without the journal everything is
found out by comparing checksums. A line that a kill tore is no line.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Done:
    """A file that was brought in, or was there, and is verified: checksums before and after its paths were replaced."""

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


_decoder = msgspec.json.Decoder(Done)


@dataclass(slots=True)
class Journal:
    """The journal in a folder; many threads may add to it."""

    file: Path
    known: dict[str, Done] = field(default_factory=dict)
    _out: BinaryIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, done: Done) -> None:
        """Write a line; it is with the system before this returns."""
        with self._lock:
            if self._out is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._out = self.file.open("ab", buffering=0)
                # What a kill tore ends here, and not within the new line.
                if self._out.tell():
                    self._out.write(b"\n")
            self._out.write(msgspec.json.encode(done) + b"\n")
            self.known[done.target] = done

    def close(self) -> None:
        """Let go of the file."""
        if self._out is not None:
            self._out.close()
            self._out = None


def read(folder: Path) -> Journal:
    """The journal of a folder, empty if there is none; lines that are none are left out."""
    journal = Journal(folder / NAME)
    try:
        with journal.file.open("rb") as lines:
            for line in lines:
                try:
                    done = _decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    continue
                journal.known[done.target] = done
    except FileNotFoundError:
        pass
    return journal
