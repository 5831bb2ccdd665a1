"""Finding things by part of their name: versions of models, figures, files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pokeflow import text as words
from pokeflow.errors import PokeflowError
from pokeflow.project import Receipt
from pokeflow.project import versions as versions_of
from pokeflow.project.inventory import Inventory, Item
from pokeflow_browse import lineage

DIGITS = 6
"""Of a digest or checksum that is looked for, at least: fewer would match by chance."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a version: ``value`` None is unknown, and ``reason`` says why."""

    name: str
    model: str
    version: str
    task: str
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hits:
    """All that matches, each kind for itself."""

    models: tuple[Receipt, ...]
    figures: tuple[Figure, ...]
    files: tuple[Item, ...]

    def __bool__(self) -> bool:
        return bool(self.models or self.figures or self.files)


def find(found: Inventory, text: str) -> Hits:
    """Whatever has the text in its name, or matches it as a pattern (``*.onnx``); case makes no difference."""
    matches = _matcher(text)
    versions = versions_of(found.receipts)
    return Hits(
        tuple(r for name, r in versions.items() if matches(name) or _is_digest(text, (r.digest, r.content))),
        tuple(figure for receipt in versions.values() for figure in _figures(receipt) if matches(figure.name)),
        tuple(item for item in found.items if _is_file(item, text, matches)),
    )


def _figures(receipt: Receipt) -> Iterator[Figure]:
    for task, name, value, reason in lineage.figures(receipt):
        yield Figure(name, receipt.model, receipt.version, task, value, reason)


def _matcher(text: str) -> Callable[[str], bool]:
    wanted = text.casefold()
    if any(sign in wanted for sign in "*?["):
        return lambda name: fnmatchcase(name.casefold(), wanted)
    # "name v1.0" is how tables write what is called name:v1.0.
    wanted = wanted.replace(" ", ":")
    return lambda name: wanted in name.casefold()


def _is_file(item: Item, text: str, matches: Callable[[str], bool]) -> bool:
    name = item.path.rpartition("/")[2]
    return matches(item.path) or matches(name) or _is_digest(text, (item.placed.sha256,) if item.placed else ())


def _is_digest(text: str, digests: Iterable[str]) -> bool:
    return len(text) >= DIGITS and any(digest.startswith(text.lower()) for digest in digests)


def nothing(found: Inventory, text: str) -> PokeflowError:
    """The error for what is not found: the nearest names, and what there is."""
    import difflib  # costs more than most runs have use for

    versions = versions_of(found.receipts)
    figures = {figure.name for receipt in versions.values() for figure in _figures(receipt)}
    models = {receipt.model for receipt in versions.values()}
    files = {item.path.rpartition("/")[2] for item in found.items}
    near = difflib.get_close_matches(text, sorted({*models, *versions, *figures, *files}), n=3)
    nearest = f" Did you mean {' or '.join(repr(words.plain(name)) for name in near)}?" if near else ""
    return PokeflowError(
        f"find: no model, figure or file has {text!r} in its name.{nearest} "
        f"Models: {words.some(sorted(models)) or 'none'}. Figures: {words.some(sorted(figures)) or 'none'}."
    )
