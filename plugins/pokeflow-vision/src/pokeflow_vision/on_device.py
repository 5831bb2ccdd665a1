"""An edge adapter: the one module of a target that a small device gets, and what it finds there of pokeflow."""

import ast
from collections.abc import Iterable, Iterator

ON_DEVICE = (
    "pokeflow.errors",
    "pokeflow_vision.dataset",
    "pokeflow_vision.index",
    "pokeflow_vision.preprocessing",
    "pokeflow_vision.retrieval",
)
"""What a device has of pokeflow: modules that need numpy and pillow, no framework, and nothing else of pokeflow."""
_PACKAGES = {name.rpartition(".")[0] for name in ON_DEVICE}


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
