"""Search for versions of models, figures and files by part of their name, a pattern or a digest."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pokeflow import text as words
from pokeflow.errors import PokeflowError
from pokeflow.project import Receipt
from pokeflow.project import versions as versions_of
from pokeflow.project.inventory import Inventory, Item
from pokeflow_browse import lineage
from pokeflow_browse.configured import NOTHING

DIGITS = 6
"""Minimum number of characters of a digest or checksum to search for: fewer would match by chance."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a version; ``value`` is None if unknown, with the ``reason``."""

    name: str
    model: str
    version: str
    task: str
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hits:
    """Search results, by kind."""

    models: tuple[Receipt, ...]
    figures: tuple[Figure, ...]
    files: tuple[Item, ...]

    def __bool__(self) -> bool:
        return bool(self.models or self.figures or self.files)


def find(contents: Inventory, text: str) -> Hits:
    """Find everything whose name contains a text or matches it as a pattern, or whose digest begins with it.

    Args:
        contents: Inventory of the tree.
        text: Part of a name, a pattern such as ``*.onnx``, or the beginning of a digest; case is ignored.

    """
    matches = _matcher(text)
    versions = versions_of(contents.receipts)
    return Hits(
        tuple(r for name, r in versions.items() if matches(name) or _is_digest(text, (r.digest, r.content))),
        tuple(figure for receipt in versions.values() for figure in _figures(receipt) if matches(figure.name)),
        tuple(item for item in contents.items if _is_file(item, text, matches)),
    )


def _figures(receipt: Receipt) -> Iterator[Figure]:
    for task, name, value, reason in lineage.figures(receipt):
        yield Figure(name, receipt.model, receipt.version, task, value, reason)


def _matcher(text: str) -> Callable[[str], bool]:
    pattern = text.casefold()
    if any(sign in pattern for sign in "*?["):
        return lambda name: fnmatchcase(name.casefold(), pattern)
    # Tables show the version name:v1.0 as "name v1.0".
    pattern = pattern.replace(" ", ":")
    return lambda name: pattern in name.casefold()


def _is_file(item: Item, text: str, matches: Callable[[str], bool]) -> bool:
    name = item.path.rpartition("/")[2]
    return matches(item.path) or matches(name) or _is_digest(text, (item.published.sha256,) if item.published else ())


def _is_digest(text: str, digests: Iterable[str]) -> bool:
    return len(text) >= DIGITS and any(digest.startswith(text.lower()) for digest in digests)


def no_match(contents: Inventory, text: str) -> PokeflowError:
    """Return the error for a search without results, with the most similar names and the known models and figures."""
    import difflib  # slow to import, and most runs do not need it

    if not contents.items:
        return PokeflowError(f"find: {contents.tree.objects.uri}: {NOTHING}")
    versions = versions_of(contents.receipts)
    figures = {figure.name for receipt in versions.values() for figure in _figures(receipt)}
    models = {receipt.model for receipt in versions.values()}
    files = {item.path.rpartition("/")[2] for item in contents.items}
    near = difflib.get_close_matches(text, sorted({*models, *versions, *figures, *files}), n=3)
    nearest = (
        f" Did you mean {' or '.join(repr(words.strip_control_characters(name)) for name in near)}?" if near else ""
    )
    return PokeflowError(
        f"find: no model, figure or file has {text!r} in its name.{nearest} "
        f"Models: {words.shorten(sorted(models)) or 'none'}. Figures: {words.shorten(sorted(figures)) or 'none'}."
    )
