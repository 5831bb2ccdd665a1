"""Reader of a tutorial: the page's code blocks, written and run from top to bottom as the page says."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pokeflow_testkit.newcomer import Newcomer
from pokeflow_testkit.support import contents

_BLOCK = re.compile(r"(?:^`([\w./-]+)`[^`\n]*:\n\n)?^```(\w*)\n(.*?)```", re.DOTALL | re.MULTILINE)
_INSTALLED = re.compile(r"__pycache__|\.egg-info|\.pytest_cache|^build/")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page: the file that it shows (empty if none), its language and its text."""

    file: str
    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page in order; the line above a block names the file that it shows."""
    return [Block(*match) for match in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def package_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a package by path, without those that installing and testing leave behind."""
    return {path: content for path, content in contents(folder).items() if not _INSTALLED.search(path)}


def follow(
    page: Path, reader: Newcomer, package: str, *, outside: tuple[str, ...] = ()
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Follow a page: write its files into the package, run its ``sh`` blocks, and return their results by text.

    Files named in ``outside`` are written next to the package. Every command must succeed.
    """
    answers = {}
    for block in blocks(page):
        if block.kind == "sh":
            answers[block.text] = done = reader.run(block.text)
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        elif block.file:
            target = reader.home / block.file if block.file in outside else reader.home / package / block.file
            # A new module in the package is a step of the tutorial; a folder that is missing is a mistake of the page.
            assert target.parent.is_dir(), f"{target.parent} is not in the skeleton"
            target.write_text(block.text, encoding="utf-8")
    return answers


def shows(shown: str, printed: str) -> bool:
    """Return whether a program printed what a page shows, in which ``…`` stands for any text."""
    return re.search(".*".join(map(re.escape, shown.strip().split("…"))), printed, re.DOTALL) is not None
