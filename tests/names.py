"""Checks names: ``python -m tests.names`` prints each that says too little, with what to call it instead.

A public function is a verb or a standard noun, a public class a noun of the field: ``opened(path)`` leaves open whether
it opens something or tells whether something is open; ``open_network(path)`` and ``is_open`` do not. Properties may be
adjectives. Parameters and local variables are named by what they hold: ``files`` or ``matches``, not ``found``. A test
says in a few words what it expects. Sources are checked for all of this, tests and scripts for the last two.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.structure import ROOT, modules

BETTER = {
    "asked": "requested, or the verb: resolve, query",
    "beside": "the path's role: atomic_target, sidecar",
    "done": "a verb: finish, complete",
    "drawn": "draw, render",
    "found": "find, or what is found",
    "given": "arguments, inputs",
    "heard": "parse, read",
    "held": "lease, lock",
    "kept": "keep, retain",
    "left": "remaining",
    "lies": "is_at, path_of",
    "made": "build, make, produce",
    "met": "adopt, accept",
    "place": "path, location, locate",
    "said": "message, read",
    "seen": "observe, read",
    "shown": "show, format",
    "taken": "take, acquire",
    "tell": "notify, report",
    "told": "describe, to_dict, format, error_message",
    "written": "write",
}
"""Words that were used in many senses, and what says more."""
VAGUE = {
    "asked": "request, options, requested",
    "beside": "the path's role: sidecar, folder",
    "found": "what it holds: files, matches, errors",
    "given": "params, arguments, inputs",
    "lies": "location, path",
    "made": "record, result, artifact",
    "place": "uri, path, location",
    "told": "lines, message, report",
}
"""Names of parameters and local variables that fit any value, and what says more."""
MAX_TEST_NAME = 60
NOUNS = {"embed", "feed", "need", "seed", "reseed", "shed", "speed", "unexpected"}
REGULAR = re.compile(r"[A-Za-z][a-z]+ed")


def public_names(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each public function, method and class of a module with its line, properties left out."""
    bodies = [ast.parse(file.read_text(encoding="utf-8")).body]
    while bodies:
        for node in bodies.pop():
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any("property" in decorator or decorator.endswith(".setter") for decorator in decorators):
                yield node.name, node.lineno
            if isinstance(node, ast.ClassDef):
                bodies.append(node.body)


def local_names(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each parameter and each local variable of a module's functions with its line."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.arg):
                    yield node.arg, node.lineno
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id, node.lineno


def test_names(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each test function of a module with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, node.lineno


def scripts(root: Path = ROOT) -> list[Path]:
    """Return the files of tests and scripts, which are not part of a distribution's sources."""
    folders = [root / "tests", root / "docs/scripts", root / ".github/scripts", *(root / "plugins").glob("*/tests")]
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


def fault_of(name: str) -> str | None:
    """Return what to call a name instead, or None where it is a good one."""
    word = name.lower()
    if word in BETTER:
        return BETTER[word]
    if word not in NOUNS and REGULAR.fullmatch(name):
        return f"a verb ({word.removesuffix('ed')}…), or a noun of the field"
    return None


def faults(root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each name that says too little: public, of a parameter or local variable, or of a test."""
    sources = sorted(modules(root).values())
    for file in sources:
        for name, line in public_names(file):
            if better := fault_of(name):
                yield f"{file.relative_to(root)}:{line}: {name!r} is no public name. Better: {better}."
    for file in [*sources, *scripts(root)]:
        where = file.relative_to(root)
        for name, line in sorted(set(local_names(file)), key=lambda pair: pair[1]):
            if better := VAGUE.get(name.strip("_")):
                yield f"{where}:{line}: {name!r} says nothing of its value. Better: {better}."
        for name, line in test_names(file):
            if len(name) > MAX_TEST_NAME:
                yield f"{where}:{line}: {name!r} has {len(name)} characters. Say what it expects in {MAX_TEST_NAME}."
            if word := next((word for word in name.split("_") if word in VAGUE), None):
                yield f"{where}:{line}: {name!r} contains {word!r}. Better: {VAGUE[word]}."


def main() -> int:
    """Print every fault; return 1 if there is one."""
    lines = list(faults())
    print("\n".join(lines) or "names: sound")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
