"""Sanitizing of output from other machines and programs: a terminal would execute the control codes in it."""

import re

MAX_LENGTH = 1000
"""Maximum length of a line in characters."""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def printable(text: str, most: int = MAX_LENGTH) -> str:
    """Return the text as one line of at most ``most`` characters, without colour codes.

    A space replaces each other unprintable character. Of a progress bar that overwrites its line only the last state
    is kept.
    """
    line = " ".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "".join(letter if letter.isprintable() else " " for letter in _ESCAPE.sub("", line))[:most].rstrip()
