"""What runs outside pokeflow: the modules that a small device and SageMaker's container get, and their source.

A bundle carries these files as they are; so what answers there is what was measured here. An edge adapter is the one
module of a target that a device gets beside them.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from pokeflow.errors import PokeflowError

ON_DEVICE = (
    "pokeflow.errors",
    "pokeflow_vision.archive",
    "pokeflow_vision.dataset",
    "pokeflow_vision.index",
    "pokeflow_vision.onnx_network",
    "pokeflow_vision.preprocessing",
    "pokeflow_vision.recognizer",
    "pokeflow_vision.retrieval",
)
"""What a device has of pokeflow: modules that need numpy and pillow, no framework, and nothing else of pokeflow."""
_PACKAGES = {name.rpartition(".")[0] for name in ON_DEVICE}


def library(folder: str) -> dict[str, Path | bytes]:
    """Every file with which a bundle brings these modules, by its name there: their source below ``folder``."""
    packages = {f"{folder}/{package}/__init__.py": b"" for package in sorted(_PACKAGES)}
    return {**packages, **{f"{folder}/{name.replace('.', '/')}.py": source_of(name) for name in ON_DEVICE}}


def source_of(module: str) -> Path:
    """The file of a module, found without running it; PokeflowError where there is none."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(place) / f"{module.partition('.')[2].replace('.', '/')}.py").is_file():
            return file
    raise PokeflowError(f"{module}: no such module here. Install the plugin that brings it.")


def fingerprint(files: Mapping[str, Path | bytes]) -> str:
    """The sha256 of a bundle's code: its files' names and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        data = content if isinstance(content, bytes) else content.read_bytes()
        total.update(f"{name} {len(data)}\n".encode() + data)
    return total.hexdigest()


def imported(source: str, package: str) -> Iterator[str]:
    """Every module that code imports as it is loaded or runs, by its whole name; SyntaxError where it is no Python.

    ``package`` is the one that relative imports start from. What is for type checkers alone is left out.
    """
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            # From these packages, and from one's own, it may be a module as well as a name in it.
            whole = module in _PACKAGES or (node.level and not node.module)
            yield from [f"{module}.{alias.name}" for alias in node.names] if whole else [module]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return str(node.module)
    parts = package.split(".")
    above = parts[: max(1, len(parts) - node.level + 1)]  # what leads out of the package does not load anyway
    return ".".join([*above, *([node.module] if node.module else [])])


def _running(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    checked = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    inside: Iterable[ast.AST] = node.orelse if checked else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
    for child in inside:
        yield from _running(child)
