"""Modules that run outside pokeflow, on a small device and in SageMaker's container, and their source files.

A bundle carries these files unchanged, so the code that answers there is the code that was measured here. An edge
adapter is the only module of a target that a device gets in addition.
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
    "pokeflow_vision.detection",
    "pokeflow_vision.index",
    "pokeflow_vision.onnx_network",
    "pokeflow_vision.preprocessing",
    "pokeflow_vision.recognizer",
    "pokeflow_vision.retrieval",
    "pokeflow_vision.views",
)
"""Modules of pokeflow on a device: they need numpy, opencv and pillow, and no other module of pokeflow."""
_PACKAGES = {name.rpartition(".")[0] for name in ON_DEVICE}


def library(folder: str) -> dict[str, Path | bytes]:
    """Return the files of these modules in a bundle: path in the bundle, below ``folder`` → source file or content."""
    packages = {f"{folder}/{package}/__init__.py": b"" for package in sorted(_PACKAGES)}
    return {**packages, **{f"{folder}/{name.replace('.', '/')}.py": source_of(name) for name in ON_DEVICE}}


def source_of(module: str) -> Path:
    """Return the source file of a module without importing it; raise a PokeflowError if it does not exist."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / f"{module.partition('.')[2].replace('.', '/')}.py").is_file():
            return file
    raise PokeflowError(f"{module}: no such module is installed. Install the plugin that contains it.")


def fingerprint(files: Mapping[str, Path | bytes]) -> str:
    """Return the sha256 of a bundle's code: its files' names and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        data = content if isinstance(content, bytes) else content.read_bytes()
        total.update(f"{name} {len(data)}\n".encode() + data)
    return total.hexdigest()


def list_imports(source: str, package: str) -> Iterator[str]:
    """Yield the full name of every module that code imports when it is loaded or run.

    Imports for type checkers only are omitted.

    Args:
        source: The code.
        package: Package from which relative imports start.

    Raises:
        SyntaxError: The source is not valid Python.

    """
    for node in _runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            # A name imported from these packages, or from the code's own package, may be a module.
            names_are_modules = module in _PACKAGES or (node.level and not node.module)
            yield from [f"{module}.{alias.name}" for alias in node.names] if names_are_modules else [module]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return str(node.module)
    parts = package.split(".")
    above = parts[: max(1, len(parts) - node.level + 1)]  # an import that leaves the package fails anyway
    return ".".join([*above, *([node.module] if node.module else [])])


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    type_checking = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    children: Iterable[ast.AST] = node.orelse if type_checking else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
    for child in children:
        yield from _runtime_nodes(child)
