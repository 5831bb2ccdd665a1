"""Markdown for the generated parts: tables, and docstrings split into a description and attributes."""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z`\"0-9])")
_CODE = re.compile(r"(`[^`]*`)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown without line breaks."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: single backticks, no HTML outside of code."""
    text = re.sub(r"``(.+?)``", r"`\1`", text.strip(), flags=re.DOTALL)
    parts = _CODE.split(text)
    return "".join(part if i % 2 else part.replace("<", "&lt;").replace("*", "\\*") for i, part in enumerate(parts))


def describe(kind: type) -> tuple[str, dict[str, str]]:
    """Return a class's description, and the description of each attribute that its docstring names.

    An ``Attributes:`` section is read as it stands. Without one a sentence describes the attributes that it names in
    double backticks; the first sentence and those that name none describe the class.
    """
    text = inspect.getdoc(kind) or ""
    if text.startswith(f"{kind.__name__}("):  # the default docstring of a dataclass
        return "", {}
    body, _, section = text.partition("\nAttributes:\n")
    if section:
        return prose(body), _attributes(section)
    sentences = [part for paragraph in body.split("\n\n") for part in _SENTENCE.split(" ".join(paragraph.split()))]
    names = list(getattr(kind, "__dataclass_fields__", {}))
    kept, clauses_of = [sentences[0]], dict[str, list[str]]()
    for index, sentence in enumerate(sentences):
        clauses = list(_clauses(sentence, names))
        if not clauses and index:
            kept.append(sentence)
        for name, clause in clauses:
            clauses_of.setdefault(name, []).append(clause)
    return prose(" ".join(kept)), {name: prose(_begin(" ".join(texts))) for name, texts in clauses_of.items()}


def _clauses(sentence: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (attribute, text) for a sentence: clause by clause if each begins with an attribute."""
    named = [name for name in names if f"``{name}``" in sentence]
    parts = re.split(r"(?:, and |, |; | and )(?=``)", sentence.partition(": ")[2] if ": ``" in sentence else sentence)
    first = [re.match(r"``(\w+)`` \w", part) for part in parts]
    if len(parts) > 1 and all(match and match[1] in named for match in first):
        yield from ((match[1], part.rstrip(".") + ".") for match, part in zip(first, parts, strict=True) if match)
    else:
        yield from ((name, sentence) for name in named)


def _begin(text: str) -> str:
    """Return a description without the attribute's own name at its start: ``lr`` is the rate → The rate."""
    text = re.sub(r"^``\w+`` (?:is|are) ", "", text)
    return text[:1].upper() + text[1:]


def _attributes(section: str) -> dict[str, str]:
    """Parse the lines of a section ``Attributes:``, each ``name: text`` with its further lines indented deeper."""
    lines_of: dict[str, list[str]] = {}
    name = ""
    for line in section.splitlines():
        match = re.match(r" {4}(\w+)(?: \([^)]*\))?: (.*)", line)
        if match:
            name = match[1]
            lines_of[name] = [match[2]]
        elif not line.strip():
            name = ""
        elif name:
            lines_of[name].append(line.strip())
    return {name: prose(_begin(" ".join(lines))) for name, lines in lines_of.items()}


def mermaid_blocks(text: str) -> list[str]:
    """Return the Mermaid diagrams of a page, each as the text of its block."""
    return re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
