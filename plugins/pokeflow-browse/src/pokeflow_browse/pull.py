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
from pokeflow_browse.configured import NOTHING


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

    name: str
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
    complete = _data(tree, name) if "/" in name else _version(tree, name)
    if not patterns:
        return complete
    selected = tuple(file for file in complete.files if any(_matches(file.path, pattern) for pattern in patterns))
    if not selected:
        raise ConfigError(
            [unknown("--file", f"file of {complete.name} like", patterns[0], (f.path for f in complete.files))]
        )
    return Plan(complete.name, selected, complete.notes)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a pattern matches a whole path or its last parts."""
    return fnmatchcase(path, pattern) or fnmatchcase(f"/{path}", f"*/{pattern}")


def _version(tree: Tree, name: str) -> Plan:
    all_receipts, errors = inventory.read(tree)
    if not all_receipts and not errors:
        raise ConfigError([Fault("pull", f"{tree.objects.uri}: {NOTHING}")])
    versions = versions_of(all_receipts)
    model, _, version = name.partition(":")
    receipt = versions.get(name) if version else newest(all_receipts).get(model)
    if receipt is None:
        models = sorted({receipt.model for receipt in versions.values()})
        of_model = [name for name, receipt in versions.items() if receipt.model == model]
        link_folders = [path.rpartition("/")[0] for path in _links(tree)]
        hints = [*errors.values(), *([] if versions else ["No model is published yet."])]
        raise ConfigError(
            [unknown("pull", "published version", name, of_model or [*models, *link_folders], " ".join(hints))]
        )
    return _plan(tree, receipt, all_receipts)


def _plan(tree: Tree, receipt: Receipt, all_receipts: Sequence[Receipt]) -> Plan:
    current = inventory.current(all_receipts)
    files, notes = [], []
    for published in receipt.files:
        owner, _ = current[published.path]
        if owner is receipt or published.sha256 == current[published.path][1].sha256:
            files.append(FileToFetch(tree.objects, published.path, published.path, published.size, published.sha256))
        else:
            owner_name = f"{owner.model} {owner.version}".strip() or owner.unit
            notes.append(f"left out {published.path}: the current file is of {owner_name}")
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
        advice = "" if maker.startswith("a stage ") else " Run it and 'pokeflow publish'."
        raise PokeflowError(f"{path}: not published yet; it would come from {maker}.{advice}")
    link = links.read(tree.objects, path)
    target = links.follow(link, tree, path)
    if difference := links.difference(link, target):
        raise PokeflowError(f"{path}: {difference}. Publish again to link the current target, or restore the old one.")
    # A single file goes into the link's own folder; files of a folder keep their paths below it.
    files = tuple(
        FileToFetch(target.objects, f.path, f"{folder}/{_inside(link, f.path)}", f.size, f.sha256) for f in target.files
    )
    notes = [f"{path} → {link.target}"]
    if link.select is not None:
        selection = ", ".join(f"{name} {value}" for name, value in link.select.items())
        notes.append(f"the link selects a part of its target ({selection}); all files are downloaded")
    if unverified := sum(not file.sha256 for file in files):
        notes.append(
            f"{text.format_count(unverified, 'file')} without a recorded checksum: downloaded again, not verified"
        )
    return Plan(folder, files, tuple(notes))


def _inside(link: Link, path: str) -> str:
    """Return the path of a target's file relative to the link: whole for a folder, the name for a single file."""
    return path if link.target.endswith("/") else path.rpartition("/")[2]


def pull(files: Sequence[FileToFetch], folder: Path, label: str) -> PullResult:
    """Download files to a folder, each atomically; existing files with the right checksum are kept.

    Args:
        files: Files to download.
        folder: Folder to download them to.
        label: Name of the download, for the progress bar.

    Raises:
        ConfigError: The path of a file is outside of the folder.
        IntegrityError: The checksum of a file is not the expected one.

    """
    targets = _target_paths(files, folder)
    fetched, existing = [], []

    def fetch_one(item: tuple[FileToFetch, Path], advance: Advance) -> None:
        file, target = item
        if file.sha256 and target.is_file() and target.stat().st_size == file.size and sha256(target) == file.sha256:
            existing.append(file.path)
            advance(file.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        file.objects.download(file.key, target, sha256=file.sha256 or None, advance=advance)
        fetched.append(file)

    each(fetch_one, targets, label=f"fetching {label}", total=sum(file.size for file in files))
    size = sum(file.size for file in fetched)
    return PullResult(tuple(sorted(file.path for file in fetched)), tuple(sorted(existing)), size)


def _target_paths(files: Sequence[FileToFetch], folder: Path) -> list[tuple[FileToFetch, Path]]:
    """Return each file with its local path; raise a ConfigError if one of the paths is outside of the folder."""
    root = folder.resolve()
    targets = []
    for file in files:
        target = root / require_key(file.path)
        # A symbolic link in the folder may point outside of it; a download must not follow it.
        if not target.resolve().is_relative_to(root):
            raise ConfigError([Fault("--to", f"{folder / file.path} is outside of {folder}. Choose another folder.")])
        targets.append((file, target))
    return targets
