"""Checks prose: ``python -m tests.prose`` prints each sentence that breaks the house style, and exits with 1 then.

The rules are Vale's files in ``.vale/styles``: editors and continuous integration apply them to Markdown with Vale.
This command needs no further program and also reads the docstrings, comments and messages of the sources, the comments
of the shipped YAML and of the Makefile, and the skeletons of plugins. It knows the rules ``existence``,
``substitution`` and ``occurrence`` of a sentence's words.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.structure import ROOT, modules

STYLES = ROOT / ".vale" / "styles" / "pokeflow"
MESSAGE_WORDS = 4
"""Strings of fewer words are keys, names and labels, unless they are arguments of a function in ``DESCRIBES``."""
DESCRIBES = {"describe_field"}
VALUE = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}|\[[^][]*\]|\b(?:backend|executor): \w+")
"""Settings and values of YAML in a comment."""
COMMENT = re.compile(r"(?:^|\s)# (.+)")
QUOTED = re.compile(r"'[^'\s]+'|[\w.-]+=\S+|[\w-]+[./:][\w./:-]+")
"""Names and settings in a message, which are written as users type them."""
CODE = re.compile(r"(?ms)^ *(```|~~~).*?^ *\1|<!--.*?-->|``.+?``|`[^`\n]+`|\]\([^)]*\)|https?://\S+|^---\n.*?^---$")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the style: a pattern that no text may contain, and the message for a match."""

    name: str
    pattern: re.Pattern[str]
    message: str
    better: tuple[tuple[re.Pattern[str], str], ...] = ()
    most: int | None = None
    markup_only: bool = False

    def faults(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield (offset, message) of each match in a text."""
        if self.most is not None:
            for sentence in re.finditer(r"[^.!?:;|\n]+(?:\n(?!\s*(?:[-*|#>\d]|\n))[^.!?:;|\n]+)*", text):
                if len(self.pattern.findall(sentence[0])) > self.most:
                    yield sentence.start(), self.message
            return
        for match in self.pattern.finditer(text):
            better = next((word for pattern, word in self.better if pattern.fullmatch(match[0])), "")
            words = (better, match[0]) if better else (match[0],)
            yield match.start(), self.message % words


def rules(folder: Path = STYLES) -> list[Rule]:
    """Return the rules of a folder of Vale's rule files."""
    return [_rule(file) for file in sorted(folder.glob("*.yml"))]


def _rule(file: Path) -> Rule:
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    flags = re.IGNORECASE if data.get("ignorecase") else 0
    message = data["message"]
    match data["extends"]:
        case "existence":
            return Rule(file.stem, _words(data["tokens"], flags), message)
        case "substitution":
            better = tuple((re.compile(word, flags), right) for word, right in data["swap"].items())
            return Rule(file.stem, _words(data["swap"], flags), message, better)
        case "occurrence":
            return Rule(file.stem, re.compile(data["token"]), message, most=data["max"], markup_only=True)
        case other:
            raise ValueError(f"{file}: rules of the kind {other!r} are not known here")


def _words(words: Iterable[str], flags: int) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", flags)


def markdown(text: str) -> str:
    """Return the prose of a Markdown page, with code, links' targets and comments blanked out."""
    return CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def passages(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each docstring, comment and message of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(?:noqa|type:|fmt:|pragma)", token.string):
            yield token.start[0], QUOTED.sub("…", markdown(token.string))
    tree = ast.parse(source)
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    descriptions = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DESCRIBES
        for argument in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            text = "".join(str(part) for part in texts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if len(text.split()) >= MESSAGE_WORDS or id(node) in descriptions:
            yield node.lineno, QUOTED.sub("…", markdown(text))


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each comment of YAML, TOML or a Makefile."""
    for number, line in enumerate(source.splitlines(), 1):
        if match := COMMENT.search(line):
            yield number, QUOTED.sub("…", VALUE.sub("…", markdown(match[1])))


def faults(root: Path = ROOT, style: Iterable[Rule] | None = None) -> Iterator[str]:
    """Yield a line for each sentence of the pages, sources and configuration that breaks a rule."""
    style = list(rules() if style is None else style)
    skeletons = sorted((root / "pokeflow/cli/skeleton").rglob("*.txt"))
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "plugins").glob("*/README.md")]
    for page in sorted([*pages, *(file for file in skeletons if file.name.endswith(".md.txt"))]):
        text = markdown(page.read_text(encoding="utf-8"))
        for rule in style:
            for offset, message in rule.faults(text):
                yield f"{page.relative_to(root)}:{text.count(chr(10), 0, offset) + 1}: {message} [{rule.name}]"
    sources = [*modules(root).values(), *(file for file in skeletons if file.name.endswith(".py.txt"))]
    configuration = [
        *root.glob("Makefile"),
        *(root / "conf").rglob("*.yaml"),
        *root.glob("plugins/*/src/*/conf/**/*.yaml"),
    ]
    configuration += (file for file in skeletons if file.name.endswith((".yaml.txt", ".toml.txt")))
    for files, read in ((sources, passages), (sorted(configuration), comments)):
        for file in files:
            for line, text in read(file.read_text(encoding="utf-8")):
                for rule in style:
                    if not rule.markup_only:
                        yield from (f"{file.relative_to(root)}:{line}: {m} [{rule.name}]" for _, m in rule.faults(text))


def main() -> int:
    """Print every fault; return 1 if there is one."""
    lines = list(faults())
    print("\n".join(lines) or "prose: sound")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
