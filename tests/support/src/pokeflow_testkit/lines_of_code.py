"""Count lines of code, as this project's documentation states them."""

import ast
from collections.abc import Iterable
from pathlib import Path


def lines_of_code(files: Iterable[Path]) -> int:
    """Return the number of lines of Python that are not blank, a comment or part of a docstring."""
    return sum(_of(file.read_text(encoding="utf-8")) for file in files)


def _of(text: str) -> int:
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = ((i, line.strip()) for i, line in enumerate(text.splitlines(), 1))
    return sum(bool(line) and not line.startswith("#") and i not in documented for i, line in lines)
