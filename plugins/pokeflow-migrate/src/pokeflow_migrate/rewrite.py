"""Replacement of old paths in metadata files as text: all other bytes are kept, and the format stays valid."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pokeflow_migrate.references import References

DEEPEST = 200
"""Maximum nesting depth of a YAML file: metadata is never deeper, and a deeper file may be an attack on the parser."""
_JSON_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_AFTER_KEY = re.compile(r"\s*+:")
_PLAIN = re.compile(r"[A-Za-z0-9/_.][\w/.@%+=~-]*(?::[\w/.@%+=~-]+)*", re.ASCII)
"""YAML scalar that needs no quotes if the one it replaces needed none, and is not a number."""


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """New bytes of a file, the number of replaced paths and of old paths left, and a note if it was not rewritten."""

    data: bytes
    replacements: int = 0
    left: int = 0
    note: str = ""


def rewrite(data: bytes, name: str, references: References) -> RewriteResult:
    """Replace the old paths in a file.

    A file for which this cannot be done safely is returned unchanged, with a note.

    Args:
        data: Bytes of the file.
        name: Name of the file, whose suffix determines the format.
        references: Old and new paths.

    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return RewriteResult(data, note=f"copied unchanged: not UTF-8 ({error.reason} at byte {error.start:,})")
    is_escaped = "\\" in text
    if not is_escaped and not any(prefix in text for prefix in references.prefixes):
        return RewriteResult(data)
    edit = _EDITORS.get(name.rpartition(".")[2].lower(), _edit_text)
    replacer = _Replacer(references)
    try:
        new = edit(text, replacer)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()[0][:120]
        return RewriteResult(data, note=f"copied unchanged: {reason}")
    if not replacer.replaced:
        return RewriteResult(data, left=replacer.remaining)
    return RewriteResult(new.encode(), replacer.replaced, replacer.remaining)


class _Replacer:
    """Function object that replaces paths in texts and counts the replacements."""

    def __init__(self, references: References) -> None:
        self.references, self.replaced, self.remaining = references, 0, 0

    def __call__(self, text: str, *, whole: bool = False, refuse: str = "") -> str:
        new, replaced, remaining = self.references.replace_paths(text, whole=whole, refuse=refuse)
        self.replaced, self.remaining = self.replaced + replaced, self.remaining + remaining
        return new


def _edit_text(text: str, replace: _Replacer) -> str:
    return replace(text)


def _edit_table(text: str, replace: _Replacer) -> str:
    """Replace paths in CSV or TSV text, except by paths that would need quotes, as the field may have none."""
    return replace(text, refuse='",;\t')


def _edit_json(text: str, replace: _Replacer) -> str:
    _require_json(text.removeprefix("\ufeff"))
    return _edit_json_texts(text, replace)


def _edit_json_lines(text: str, replace: _Replacer) -> str:
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.strip():
            _require_json(line)
    return _edit_json_texts(text, replace)


def _require_json(text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error


def _edit_json_texts(text: str, replace: _Replacer) -> str:
    def replace_text(match: re.Match[str]) -> str:
        if _AFTER_KEY.match(text, match.end()):
            return match[0]
        value = json.loads(match[0], strict=False)
        new = replace(value, whole=True)
        return match[0] if new == value else json.dumps(new, ensure_ascii=match[0].isascii())

    return _JSON_TEXT.sub(replace_text, text)


def _edit_yaml(text: str, replace: _Replacer) -> str:
    """Replace paths in the scalar values of YAML text, without constructing objects.

    The new text is compared with the old one event by event; raises ValueError if anything else has changed.
    """
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    body = text[len(bom) :]
    out, end = [], 0
    expected: dict[int, str] = {}
    for number, (event, is_value) in enumerate(_events(body)):
        if not isinstance(event, yaml.ScalarEvent) or not is_value:
            continue
        raw = body[event.start_mark.index : event.end_mark.index]
        before = replace.replaced
        in_place = event.style in ("|", ">") or event.anchor or event.tag
        new = replace(event.value, whole=not in_place)
        if replace.replaced == before:
            continue
        if in_place:
            replacement = replace.references.replace_paths(raw)[0]
        else:
            replacement = new if not event.style and _PLAIN.fullmatch(new) else json.dumps(new, ensure_ascii=False)
        out += [body[end : event.start_mark.index], replacement]
        end, expected[number] = event.end_mark.index, new
    out.append(body[end:])
    new_text = "".join(out)
    if expected and not _is_same(body, new_text, expected):
        raise ValueError("its paths cannot be replaced without changing other parts of the YAML")
    return bom + new_text


def _events(text: str) -> Iterator[tuple[Any, bool]]:
    """Yield the parser events of YAML text, each with True if it is a value and not a key; aliases are not followed."""
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    stack: list[list[Any]] = []
    for event in yaml.parse(text, Loader=loader):
        is_end = isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
        if is_end:
            stack.pop()
        is_value = not (stack and stack[-1][0] == "map" and stack[-1][1] % 2 == 0)
        yield event, is_value
        is_start = isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
        if stack and (is_end or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent)):
            stack[-1][1] += 1
        if is_start:
            stack.append(["map" if isinstance(event, yaml.MappingStartEvent) else "list", 0])
            if len(stack) > DEEPEST:
                raise ValueError(f"YAML with more than {DEEPEST} levels")


def _is_same(old: str, new: str, expected: dict[int, str]) -> bool:
    """Return whether two YAML texts are equal except for the ``expected`` scalars, by number of their event."""
    pairs = zip(_events(old), _events(new), strict=True)
    try:
        for number, ((before, _), (after, _)) in enumerate(pairs):
            value = expected.get(number, getattr(before, "value", None))
            if type(before) is not type(after) or getattr(after, "value", None) != value:
                return False
            if any(getattr(before, name, None) != getattr(after, name, None) for name in ("anchor", "tag")):
                return False
    except (ValueError, yaml.YAMLError):
        return False
    return True


_EDITORS: dict[str, Callable[[str, _Replacer], str]] = {
    "json": _edit_json,
    "ipynb": _edit_json,
    "jsonl": _edit_json_lines,
    "ndjson": _edit_json_lines,
    "yaml": _edit_yaml,
    "yml": _edit_yaml,
    "csv": _edit_table,
    "tsv": _edit_table,
}
