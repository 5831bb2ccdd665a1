"""Pages of the documentation as programs: reads their blocks of commands, so that a test can run them.

A block ``console`` holds commands, each on a line that begins with ``$``, and below each what it prints, shortened by
``…``. A comment right above a block, ``<!-- test: … -->``, changes how it runs; one at the page's top, ``<!-- test:
setup NAME … -->``, says what the folder holds in which the page's commands run, one after another.
"""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SETUPS = ("empty", "checkout", "project", "finished", "cards")
MODES = ("run", "cloud", "parse", "skip")
_DIRECTIVE = re.compile(r"^ *<!-- test: (.*?) -->$")
_FENCE = re.compile(r"^( *)(`{3,})([\w+-]*) *(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_EXIT = re.compile(r"exit (\d+)")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the output that the page shows."""

    text: str
    prints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands, or (``file``) of YAML that is written into the sandbox before the next command."""

    line: int
    mode: Literal["run", "cloud", "parse", "skip"] = "run"
    reason: str = ""
    exit_code: int = 0
    commands: tuple[Command, ...] = ()
    file: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the content of its sandbox, and its blocks in order."""

    path: Path
    setup: tuple[str, ...] = ("checkout",)
    blocks: tuple[Block, ...] = field(default=())

    @property
    def commands(self) -> list[tuple[Block, Command]]:
        """Every command with its block."""
        return [(block, command) for block in self.blocks for command in block.commands]


def read_page(path: Path) -> Page:
    """Parse a page; raise a ValueError for a comment or a block that the format does not know."""
    setup: tuple[str, ...] = ("checkout",)
    blocks = []
    for line, directive, language, rest, body in _fences(path.read_text(encoding="utf-8")):
        if directive.startswith("setup "):
            setup = tuple(directive.split()[1:])
            if unknown := set(setup) - set(SETUPS):
                raise ValueError(f"{path}:{line}: no setup {', '.join(sorted(unknown))}; known: {', '.join(SETUPS)}")
        elif language == "console":
            blocks.append(_console(path, line, directive, body))
        elif directive:
            raise ValueError(f"{path}:{line}: a test comment stands above a block that is not console")
        elif language == "yaml" and (title := _TITLE.search(rest)):
            blocks.append(Block(line, file=title[1], content=body))
    return Page(path, setup, tuple(blocks))


def _fences(text: str) -> Iterator[tuple[int, str, str, str, str]]:
    """Yield (line, comment right above, language, rest of the fence, content) of each block, and each setup."""
    lines = text.splitlines()
    directive, number = "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if match := _DIRECTIVE.match(line):
            directive = match[1]
            if directive.startswith("setup "):
                yield number, directive, "", "", ""
                directive = ""
        elif match := _FENCE.match(line):
            start, body = number, []
            while number < len(lines) and not re.match(rf"^ *{match[2]} *$", lines[number]):
                body.append(lines[number])
                number += 1
            number += 1
            yield start, directive, match[3], match[4], textwrap.dedent("\n".join(body)) + "\n"
            directive = ""
        elif line.strip():
            directive = ""


def _console(path: Path, line: int, directive: str, body: str) -> Block:
    mode, exit_code, reason = "run", 0, ""
    for part in filter(None, re.split(r", ?", directive, maxsplit=1 if directive[:5] in ("parse", "skip,") else 0)):
        if match := _EXIT.fullmatch(part):
            exit_code = int(match[1])
        elif part in MODES:
            mode = part
        elif mode in ("parse", "skip"):
            reason = part
        else:
            raise ValueError(f"{path}:{line}: no test comment {part!r}; known: exit N, cloud, parse, skip")
    if mode in ("parse", "skip") and not reason:
        raise ValueError(f"{path}:{line}: '{mode}' needs a reason, such as <!-- test: {mode}, needs a device -->")
    commands: list[Command] = []
    open_line = False
    for text in body.splitlines():
        if text.startswith("$ ") or open_line:
            whole = f"{commands.pop().text}\n{text}" if open_line else text[2:]
            commands.append(Command(whole))
            open_line = text.endswith("\\")
        elif commands:
            commands[-1] = Command(commands[-1].text, (*commands[-1].prints, text))
        elif text.strip():
            raise ValueError(f"{path}:{line}: a console block begins with a command, not with {text!r}")
    return Block(line, mode, reason, exit_code, tuple(commands))  # type: ignore[arg-type]  # one of MODES


def pokeflow_words(command: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of pokeflow in a command line; what other programs get is left out."""
    words: list[str] | None = None
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    previous = ""
    for word in [*lexer, ";"]:
        if words is None:
            if word.rpartition("/")[2] == "pokeflow" and (not previous or previous[-1] in "|&;" or "=" in previous):
                words = []
        elif set(word) <= set("|&;<>"):
            if word[0] in "<>" and words[-1:] in (["1"], ["2"]):
                words.pop()  # the number of a stream that is redirected
            yield words
            words = None
        else:
            words.append(word)
        previous = word


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?|–")
DIGEST = re.compile(r"\b[0-9a-f]{12,64}\b")


def normalize(line: str) -> str:
    """Return a line of output without parts that differ between runs: digests, numbers, widths, rules."""
    line = re.sub(r"[─╭╮╰╯│┬├└▼]+", " ", line)
    return re.sub(r"\s+", " ", NUMBER.sub("#", DIGEST.sub("@", line))).strip()


def missing(expected: tuple[str, ...], printed: str) -> list[str]:
    """Return the lines of a page that the output lacks; ``…`` in a line stands for any text."""
    lines = [normalize(line) for line in printed.splitlines()]
    lost = []
    for line in expected:
        wanted = normalize(line)
        pattern = re.compile(".*".join(map(re.escape, re.split(r"\s*…\s*", wanted))))
        if wanted and not any(pattern.search(have) for have in lines):
            lost.append(line)
    return lost
