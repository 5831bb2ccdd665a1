"""The common form of plugins: their hooks, parameters, stages and metadata."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

KEYS = ("description", "readme")


def faults_of_form(folder: Path) -> list[str]:
    """Return how a plugin's folder differs from the common form, one sentence for each fault."""
    return [*_of_distribution(folder), *_of_package(folder)]


def _of_distribution(folder: Path) -> Iterator[str]:
    about = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    if about["build-system"]["build-backend"] != "hatchling.build":
        yield "pyproject.toml: is not built by hatchling"
    yield from (f"pyproject.toml: has no {key}" for key in KEYS if not about["project"].get(key))
    readme = folder / "README.md"
    if not readme.is_file() or "pip install" not in readme.read_text(encoding="utf-8"):
        yield "README.md: does not say how to install it"
    if not (folder / "tests").is_dir():
        yield "tests: there are none"


def _of_package(folder: Path) -> Iterator[str]:
    (package,) = (folder / "src").iterdir()
    if not (package / "py.typed").is_file():
        yield "py.typed: is not there"
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    if not ast.get_docstring(tree):
        yield "__init__.py: has no docstring"
    for node in tree.body[1:]:
        hook = isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "hookimpl" for d in node.decorator_list)
        if not hook and not isinstance(node, ast.Import | ast.ImportFrom):
            yield f"__init__.py:{node.lineno}: is neither an import nor a hook"
    for name in ast.walk(tree):
        if isinstance(name, ast.Import | ast.ImportFrom) and name not in tree.body:
            yield f"__init__.py:{name.lineno}: imports inside a hook"
    stages = package / "stages"
    for file in sorted(stages.glob("*.py")):
        defined = {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
        if file.name != "__init__.py" and not any(name == "run" or name.startswith("run_") for name in defined):
            yield f"stages/{file.name}: has no run(task)"
