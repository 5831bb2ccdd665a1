"""Patterns of paths: ``*`` and ``?`` stay within a folder, ``**`` reaches through folders."""

import re
from functools import cache

WILD = "*?["


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression of whole paths; ``**/`` matches no folder or many, ``**`` at the end all."""
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
    """Whether a pattern means a path, all of it."""
    return compiled(pattern).fullmatch(path) is not None


def is_wild(pattern: str) -> bool:
    """Whether a pattern may mean more than one path."""
    return any(sign in pattern for sign in WILD)


def fixed(pattern: str) -> str:
    """The beginning that all matches share."""
    return pattern[: min((i for i, c in enumerate(pattern) if c in WILD), default=len(pattern))]


def below(pattern: str, path: str) -> str:
    """What a pattern's wildcards matched of a path, from the first folder that holds one."""
    return path[fixed(pattern).rfind("/") + 1 :]
