"""JSON files next to a model, for people to read and for programs to compare."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(file: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON in UTF-8: indented, sorted by key, with a final newline.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot express.

    """
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False)
    file.write_text(f"{text}\n", encoding="utf-8")
