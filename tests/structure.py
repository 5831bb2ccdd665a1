"""Checks the structure of the sources: ``python -m tests.structure`` prints what breaks a rule, and exits with 1 then.

- No module imports itself through others. Imports inside functions and for type checkers count as well.
- The core's code names nothing of a domain or of a vendor: those words belong to plugins.
- The core's folder has few entries, and every package in it says in ``__all__`` what others may use.
- A module whose name begins with ``_`` is imported only by its own package.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = "pokeflow"
MAX_ENTRIES = 20
MAX_LINES = 9_000
NO_ENTRY = {"__pycache__", "py.typed", "conf"}
DOMAIN = re.compile(r"(?i)\b(cards?|sagemaker|mlflow|hailo|teacher|student)\b")


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return the file of every module of every distribution, by the module's name."""
    files = {}
    for base in (root, *sorted((root / "plugins").glob("*/src"))):
        for file in sorted((base / CORE if base == root else base).rglob("*.py")):
            files[".".join(file.relative_to(base).with_suffix("").parts).removesuffix(".__init__")] = file
    return files


def imports(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """Yield the imports of a module, at any level: the name of a module, and the line."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                yield (inside if inside in known else base), node.lineno


def cycles(known: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line for an import cycle; after its correction, run this again for the next one."""
    graph = {
        name: {target for target, _ in imports(name, file, known) if target in known and target != name}
        for name, file in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"import cycle: {' ← '.join(error.args[1])}"


def private_imports(known: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line for each import of another package's private module."""
    for name, file in known.items():
        for target, line in imports(name, file, known):
            parts = target.split(".")
            private = next((i for i, part in enumerate(parts) if part.startswith("_") and part != "__main__"), None)
            if target in known and private is not None and name.split(".")[:private] != parts[:private]:
                owner = ".".join(parts[:private])
                yield f"{file.relative_to(ROOT)}:{line}: imports {target}, which is private to {owner}"


def domain_words(known: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line for each word of a domain in the core."""
    for name, file in known.items():
        if name.split(".")[0] == CORE:
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                for word in DOMAIN.findall(line):
                    yield f"{file.relative_to(ROOT)}:{number}: the core says {word!r}"


def size(known: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line if the core has too many entries or lines, and one for each package without ``__all__``."""
    entries = sorted(entry.name for entry in (ROOT / CORE).iterdir() if entry.name not in NO_ENTRY)
    if len(entries) > MAX_ENTRIES:
        yield f"{CORE}/ has {len(entries)} entries, {MAX_ENTRIES} at most: {', '.join(entries)}"
    core = {name: file for name, file in known.items() if name.split(".")[0] == CORE}
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in core.values())
    if lines > MAX_LINES:
        yield f"{CORE}/ has {lines:,} lines of Python, {MAX_LINES:,} at most"
    for name, file in core.items():
        if name.count(".") == 1 and file.name == "__init__.py" and "__all__" not in file.read_text(encoding="utf-8"):
            yield f"{file.relative_to(ROOT)}: has no __all__"


def main() -> int:
    """Print every line; return 1 if there is one."""
    known = modules()
    lines = [line for check in (cycles, private_imports, domain_words, size) for line in check(known)]
    print("\n".join(lines) or "structure: sound")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
