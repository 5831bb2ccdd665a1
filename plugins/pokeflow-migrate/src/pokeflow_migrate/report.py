"""Report of a migration for audits: a CSV with one row per file, and a summary in JSON."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from pokeflow.store import write_atomically

FILE = "report.csv"


@dataclass(frozen=True, slots=True)
class Row:
    """One file: its source and target, size and checksum of the target, the action, and how it was verified.

    ``replacements`` is the number of old paths replaced in it; ``references_left`` that of paths that still point into
    a source, to files that were not moved.
    """

    source: str
    target: str
    size: int
    sha256: str
    source_sha256: str
    done: str
    replacements: int = 0
    references_left: int = 0
    verified: str = ""
    note: str = ""


def totals(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Return the sums of files, bytes, and replaced and remaining old paths, by action."""
    sums_by_action: dict[str, Counter[str]] = {}
    for row in rows:
        sums = sums_by_action.setdefault(row.done, Counter())
        sums.update(files=1, size=row.size, replacements=row.replacements, references_left=row.references_left)
    return {action: dict(counts) for action, counts in sorted(sums_by_action.items())}


def write(file: Path, rows: Iterable[Row], summary: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write the CSV and, in the same folder, the summary; return both paths."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([field.name for field in fields(Row)])
    out.writerows(astuple(row) for row in rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.getvalue().encode("utf-8", "surrogateescape"))
    summary_file = file.with_suffix(".json") if file.suffix != ".json" else file.with_name(f"{file.stem}.summary.json")
    write_atomically(summary_file, (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    return file, summary_file
