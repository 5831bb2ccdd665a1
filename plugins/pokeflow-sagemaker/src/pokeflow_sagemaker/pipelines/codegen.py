"""Generation of the Python file of a pipeline: readable text that builds the same pipeline when it is run."""

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import Any

from pokeflow_sagemaker.pipelines.steps import Pipeline

WIDTH = 110
HEAD = '''"""{summary}

Generated from the lineage of {project}. {command!r} generates it again and uploads it to SageMaker.

    python {file}            print the definition
    python {file} upsert     create or update the pipeline
    python {file} start      create or update the pipeline, and start it
"""

'''


def render_module(name: str, pipeline: Pipeline) -> str:
    """Return the text of a pipeline's Python file."""
    body = _text(pipeline, 0, len("PIPELINE = "))
    classes = sorted(name for name in _names(pipeline) if name != "RemoteStore")
    shared = ["from pokeflow import RemoteStore"] if "RemoteStore" in _names(pipeline) else []
    imports = [*shared, f"from pokeflow_sagemaker.pipelines.api import {', '.join([*classes, 'main'])}"]
    head = HEAD.format(
        summary=textwrap.fill(_escape(f"{pipeline.name}: {pipeline.about}"), WIDTH - 3, break_long_words=False),
        project=_escape(pipeline.project),
        command=f"pokeflow pipeline {name}",
        file=f"{name}.py",
    )
    lines = "\n".join(_wrap(line) for line in imports)
    return f'{head}{lines}\n\nPIPELINE = {body}\n\nif __name__ == "__main__":\n    main(PIPELINE)\n'


def _escape(text: str) -> str:
    """Escape text for a docstring, so that text from YAML cannot end it and add code to the file."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def _wrap(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    start, _, names = line.partition(" import ")
    return f"{start} import (\n" + "".join(f"    {name},\n" for name in names.split(", ")) + ")"


def _names(value: Any) -> set[str]:
    """Return the names of the classes in the text of a value; the file imports them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, f.name) for f in dataclasses.fields(value) if not _is_default(value, f)]
        return {type(value).__name__}.union(*map(_names, inner))
    if isinstance(value, Mapping):
        return set().union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, tuple | list) else set()


def _text(value: Any, indent: int, offset: int = 0) -> str:
    """Format a value as Python: on one line if it fits, else one part per line.

    Args:
        value: The value.
        indent: Indentation of its line, in columns.
        offset: Columns of the line that precede the value.

    """
    opening, parts, closing = _parts(value)
    if parts is None:
        return opening
    flat = opening + ", ".join(f"{key}{_text(part, 0)}" for key, part in parts) + closing
    if "\n" not in flat and len(flat) + indent + offset <= WIDTH:
        return flat if not (isinstance(value, tuple) and len(value) == 1) else f"{flat[:-1]},)"
    pad = " " * (indent + 4)
    rows = [f"{pad}{key}{_text(part, indent + 4, len(key) + 1)},\n" for key, part in parts]
    return f"{opening}\n{''.join(rows)}{' ' * indent}{closing}"


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]] | None, str]:
    """Split a value into opening text, (text before the part, part) pairs, and closing text; None: it has no parts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if not _is_default(value, f)]
        return f"{type(value).__name__}(", [(f"{f.name}=", getattr(value, f.name)) for f in fields], ")"
    if isinstance(value, Mapping):
        return "{", [(f"{_word(key)}: ", part) for key, part in value.items()], "}"
    if isinstance(value, tuple):
        return "(", [("", part) for part in value], ")"
    if isinstance(value, list):
        return "[", [("", part) for part in value], "]"
    return _word(value), None, ""


def _word(value: Any) -> str:
    """Format a plain value; strings get double quotes, as formatters prefer."""
    text = repr(value)
    if isinstance(value, str) and text.startswith("'") and '"' not in text:
        return f'"{text[1:-1]}"'.replace("\\'", "'")
    return text


def _is_default(value: Any, field: dataclasses.Field[Any]) -> bool:
    actual = getattr(value, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return bool(actual == field.default_factory())
    return field.default is not dataclasses.MISSING and bool(actual == field.default)
