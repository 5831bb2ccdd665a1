"""The JSON files that stand beside a model: for people to read and for programs to compare."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(file: Path, value: Mapping[str, Any]) -> None:
    """Indented, in the order of its keys, UTF-8, with a line's end; ValueError for NaN and infinity, no JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False)
    file.write_text(f"{text}\n", encoding="utf-8")
