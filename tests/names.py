"""Checks public names: ``python -m tests.names`` prints each that is a bare participle, with what to call it instead.

A function is a verb or a standard noun, a class a noun of the field. ``opened(path)`` leaves open whether it opens
something or tells whether something is open; ``open_network(path)`` and ``is_open`` do not. Properties may be
adjectives, and names that begin with ``_`` are each module's own.
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


def fault_of(name: str) -> str | None:
    """Return what to call a name instead, or None where it is a good one."""
    word = name.lower()
    if word in BETTER:
        return BETTER[word]
    if word not in NOUNS and REGULAR.fullmatch(name):
        return f"a verb ({word.removesuffix('ed')}…), or a noun of the field"
    return None


def faults(root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each public name of the sources that is a bare participle."""
    for file in modules(root).values():
        for name, line in public_names(file):
            if better := fault_of(name):
                yield f"{file.relative_to(root)}:{line}: {name!r} is no public name. Better: {better}."


def main() -> int:
    """Print every fault; 1 where there is one."""
    told = list(faults())
    print("\n".join(told) or "names: sound")
    return bool(told)


if __name__ == "__main__":
    sys.exit(main())
