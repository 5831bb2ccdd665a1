"""Fetching a published version, or the data that a link leads to, into a folder; nothing unverified arrives."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pokeflow import text
from pokeflow.digest import sha256
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.objects import Advance, Objects, each, require_key
from pokeflow.project import Receipt, Tree, inventory, links, newest
from pokeflow.project import versions as versions_of
from pokeflow.project.links import Link


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: its key in ``objects``, its path in the folder, and its checksum, empty if nothing tells it."""

    objects: Objects
    key: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched, in words and file by file, and what is worth knowing before."""

    what: str
    files: tuple[Wanted, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulled:
    """What arrived: paths that were fetched and those that were there already, the bytes fetched."""

    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    size: int


def plan(tree: Tree, name: str, patterns: Sequence[str] = ()) -> Plan:
    """What a name means, ``model``, ``model:version`` or a link's folder; ConfigError where it is none of them."""
    found = _data(tree, name) if "/" in name else _version(tree, name)
    if not patterns:
        return found
    chosen = tuple(file for file in found.files if any(_matches(file.path, pattern) for pattern in patterns))
    if not chosen:
        raise ConfigError([unknown("--file", f"file of {found.what} like", patterns[0], (f.path for f in found.files))])
    return Plan(found.what, chosen, found.notes)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern means a path: by all of it, or by its end."""
    return fnmatchcase(path, pattern) or fnmatchcase(f"/{path}", f"*/{pattern}")


def _version(tree: Tree, name: str) -> Plan:
    known, damaged = inventory.read(tree)
    versions = versions_of(known)
    model, _, version = name.partition(":")
    receipt = versions.get(name) if version else newest(known).get(model)
    if receipt is None:
        models = sorted({receipt.model for receipt in versions.values()})
        of_model = [name for name, receipt in versions.items() if receipt.model == model]
        links_too = [path.rpartition("/")[0] for path in _links(tree)]
        hints = [*damaged.values(), *([] if versions else ["No version is published yet."])]
        raise ConfigError(
            [unknown("pull", "published version", name, of_model or [*models, *links_too], " ".join(hints))]
        )
    return _plan(tree, receipt, known)


def _plan(tree: Tree, receipt: Receipt, known: Sequence[Receipt]) -> Plan:
    counting = inventory.current(known)
    files, notes = [], []
    for placed in receipt.files:
        counts, _ = counting[placed.path]
        if counts is receipt or placed.sha256 == counting[placed.path][1].sha256:
            files.append(Wanted(tree.objects, placed.path, placed.path, placed.size, placed.sha256))
        else:
            by = f"{counts.model} {counts.version}".strip() or counts.unit
            notes.append(f"left out {placed.path}: what lies there now is of {by}")
    return Plan(f"{receipt.model} {receipt.version}", tuple(files), tuple(notes))


def _links(tree: Tree) -> list[str]:
    """Where this project has links: those of the layout, for a listing of everything may be long."""
    return [leaf.path for leaf in tree.leaves if leaf.link is not None]


def _data(tree: Tree, name: str) -> Plan:
    folder = name.strip("/").removesuffix("/link.json")
    by_folder = {path.rpartition("/")[0]: path for path in _links(tree)}
    if folder not in by_folder:
        raise ConfigError([unknown("pull", "link", name, by_folder)])
    path = by_folder[folder]
    if tree.objects.stat(path) is None:
        maker = next(leaf.maker for leaf in tree.leaves if leaf.path == path)
        raise PokeflowError(f"{path}: not published yet; it would come from {maker}. Run 'pokeflow publish' after it.")
    link = links.read(tree.objects, path)
    target = links.follow(link, tree, path)
    if differs := links.difference(link, target):
        raise PokeflowError(f"{path}: {differs}. Publish again to link what is there, or restore what was.")
    # A single file's folder is the link's own; of a folder all paths are kept below it.
    files = tuple(
        Wanted(target.objects, f.path, f"{folder}/{_inside(link, f.path)}", f.size, f.sha256) for f in target.files
    )
    notes = [f"{path} → {link.target}"]
    if link.select is not None:
        meant = ", ".join(f"{name} {value}" for name, value in link.select.items())
        notes.append(f"the link means a part of it ({meant}), which the files themselves tell apart: all are fetched")
    if unverified := sum(not file.sha256 for file in files):
        notes.append(f"{text.count(unverified, 'file')} without a recorded checksum: fetched anew, not compared")
    return Plan(folder, files, tuple(notes))


def _inside(link: Link, path: str) -> str:
    """A target's file as seen from the target itself, where that lies deeper than the task's folder."""
    return path if link.target.endswith("/") else path.rpartition("/")[2]


def pull(wanted: Sequence[Wanted], folder: Path, label: str) -> Pulled:
    """Fetch files into a folder, each whole or not at all; those there with the right checksum are kept."""
    places = _places(wanted, folder)
    fetched, kept = [], []

    def one(item: tuple[Wanted, Path], advance: Advance) -> None:
        file, place = item
        if file.sha256 and place.is_file() and place.stat().st_size == file.size and sha256(place) == file.sha256:
            kept.append(file.path)
            advance(file.size)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        file.objects.download(file.key, place, sha256=file.sha256 or None, advance=advance)
        fetched.append(file)

    each(one, places, label=f"fetching {label}", total=sum(file.size for file in wanted))
    size = sum(file.size for file in fetched)
    return Pulled(tuple(sorted(file.path for file in fetched)), tuple(sorted(kept)), size)


def _places(wanted: Sequence[Wanted], folder: Path) -> list[tuple[Wanted, Path]]:
    """Each file with its place; nothing is fetched if one of them would lie outside of the folder."""
    root = folder.resolve()
    places = []
    for file in wanted:
        place = root / require_key(file.path)
        # A link that lies in the folder may lead elsewhere; what is fetched must not follow it.
        if not place.resolve().is_relative_to(root):
            raise ConfigError([Fault("--to", f"{folder / file.path} leads out of {folder}. Choose another folder.")])
        places.append((file, place))
    return places
