"""What other machines and programs say, as it may be shown: a terminal obeys what they have no business to tell it."""

import re

MOST = 1000
"""Letters of a line that are kept."""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def printable(text: str, most: int = MOST) -> str:
    """One line of at most ``most`` letters, without colours, and with a space for all else that cannot be printed.

    Of what a progress bar drew over itself only the last is left.
    """
    line = " ".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "".join(letter if letter.isprintable() else " " for letter in _ESCAPE.sub("", line))[:most].rstrip()
