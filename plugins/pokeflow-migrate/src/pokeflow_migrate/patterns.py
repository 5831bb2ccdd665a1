"""Patterns of paths: ``*`` and ``?`` match within a folder, ``**`` across folders."""

import re
from functools import cache

WILD = "*?["


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to a regular expression for whole paths.

    ``**/`` matches any number of folders, including none; ``**`` at the end matches everything below.
    """
    out, i = [], 0
    while i < len(pattern):
        if pattern.startswith("**/", i) and (i == 0 or pattern[i - 1] == "/"):
            out.append("(?:[^/]+/)*")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            negated = pattern[i + 1] in "!^"
            inner = pattern[i + 1 + negated : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"(?!/)[{'^' if negated else ''}{inner}]")
            i = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[i], re.escape(pattern[i])))
            i += 1
    return re.compile("".join(out), re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a whole path."""
    return compile_pattern(pattern).fullmatch(path) is not None


def is_wild(pattern: str) -> bool:
    """Return whether a pattern may match more than one path."""
    return any(sign in pattern for sign in WILD)


def literal_prefix(pattern: str) -> str:
    """Return the literal text before the first wildcard, with which all matches begin."""
    return pattern[: min((i for i, c in enumerate(pattern) if c in WILD), default=len(pattern))]


def below(pattern: str, path: str) -> str:
    """Return the part of a matching path that begins with the first folder or name that has a wildcard."""
    return path[literal_prefix(pattern).rfind("/") + 1 :]
