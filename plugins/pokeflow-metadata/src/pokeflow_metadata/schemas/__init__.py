"""The JSON Schemas of the documents."""

import json
from importlib.resources import files
from typing import Any


def __getattr__(name: str) -> dict[str, Any]:
    file = files(__name__) / f"{name}.schema.json"
    if not file.is_file():
        raise AttributeError(name)
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
