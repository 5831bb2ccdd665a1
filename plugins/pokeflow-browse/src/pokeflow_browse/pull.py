"""Download of a published version, or of the target of a link, to a folder, with every known checksum verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pokeflow import text
from pokeflow.digest import sha256
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.objects import Advance, ObjectStore, each, require_key
from pokeflow.project import Receipt, Tree, inventory, links, newest
from pokeflow.project import versions as versions_of
from pokeflow.project.links import Link


@dataclass(frozen=True, slots=True)
class FileToFetch:
    """A file to download: its key in ``objects``, its path in the folder, and its checksum, empty if unknown."""

    objects: ObjectStore
    key: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned download: its name, its files, and notes to print before it starts."""

    what: str
    files: tuple[FileToFetch, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PullResult:
    """Result of a download: the paths that were fetched, those that existed already, and the bytes fetched."""

    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    size: int


def plan(tree: Tree, name: str, patterns: Sequence[str] = ()) -> Plan:
    """Return the download for a name.

    Args:
        tree: Tree of the project.
        name: ``model`` (its newest version), ``model:version``, or the folder of a link.
        patterns: Patterns of the files to include; empty for all.

    Raises:
        ConfigError: The name is unknown, or no file matches a pattern.
        PokeflowError: The link is not published yet, or its target has changed.

    """
    files = _data(tree, name) if "/" in name else _version(tree, name)
    if not patterns:
        return files
    chosen = tuple(file for file in files.files if any(_matches(file.path, pattern) for pattern in patterns))
    if not chosen:
        raise ConfigError([unknown("--file", f"file of {files.what} like", patterns[0], (f.path for f in files.files))])
    return Plan(files.what, chosen, files.notes)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a pattern matches a whole path or its last parts."""
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
            files.append(FileToFetch(tree.objects, placed.path, placed.path, placed.size, placed.sha256))
        else:
            by = f"{counts.model} {counts.version}".strip() or counts.unit
            notes.append(f"left out {placed.path}: what lies there now is of {by}")
    return Plan(f"{receipt.model} {receipt.version}", tuple(files), tuple(notes))


def _links(tree: Tree) -> list[str]:
    """Return the paths of the links in the project's layout, which avoids a long listing of the whole tree."""
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
    # A single file goes into the link's own folder; files of a folder keep their paths below it.
    files = tuple(
        FileToFetch(target.objects, f.path, f"{folder}/{_inside(link, f.path)}", f.size, f.sha256) for f in target.files
    )
    notes = [f"{path} → {link.target}"]
    if link.select is not None:
        meant = ", ".join(f"{name} {value}" for name, value in link.select.items())
        notes.append(f"the link means a part of it ({meant}), which the files themselves tell apart: all are fetched")
    if unverified := sum(not file.sha256 for file in files):
        notes.append(f"{text.format_count(unverified, 'file')} without a recorded checksum: fetched anew, not compared")
    return Plan(folder, files, tuple(notes))


def _inside(link: Link, path: str) -> str:
    """Return the path of a target's file relative to the link: whole for a folder, the name for a single file."""
    return path if link.target.endswith("/") else path.rpartition("/")[2]


def pull(wanted: Sequence[FileToFetch], folder: Path, label: str) -> PullResult:
    """Download files to a folder, each atomically; existing files with the right checksum are kept.

    Args:
        wanted: Files to download.
        folder: Folder to download them to.
        label: Name of the download, for the progress bar.

    Raises:
        ConfigError: The path of a file is outside of the folder.
        IntegrityError: The checksum of a file is not the expected one.

    """
    places = _target_paths(wanted, folder)
    fetched, kept = [], []

    def one(item: tuple[FileToFetch, Path], advance: Advance) -> None:
        file, target = item
        if file.sha256 and target.is_file() and target.stat().st_size == file.size and sha256(target) == file.sha256:
            kept.append(file.path)
            advance(file.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        file.objects.download(file.key, target, sha256=file.sha256 or None, advance=advance)
        fetched.append(file)

    each(one, places, label=f"fetching {label}", total=sum(file.size for file in wanted))
    size = sum(file.size for file in fetched)
    return PullResult(tuple(sorted(file.path for file in fetched)), tuple(sorted(kept)), size)


def _target_paths(wanted: Sequence[FileToFetch], folder: Path) -> list[tuple[FileToFetch, Path]]:
    """Return each file with its local path; raise a ConfigError if one of the paths is outside of the folder."""
    root = folder.resolve()
    places = []
    for file in wanted:
        target = root / require_key(file.path)
        # A symbolic link in the folder may point outside of it; a download must not follow it.
        if not target.resolve().is_relative_to(root):
            raise ConfigError([Fault("--to", f"{folder / file.path} leads out of {folder}. Choose another folder.")])
        places.append((file, target))
    return places
