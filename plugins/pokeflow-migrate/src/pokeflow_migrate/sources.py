"""Sources of a migration: opened object stores, their listings, and the items that no listing shows."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.objects import OWN, Folder, ObjectInfo, ObjectStore, open_related, open_uri, require_key
from pokeflow.project import Tree
from pokeflow_migrate.plan import Plan, Source


def open_sources(plan: Plan, folder: Path, tree: Tree, faults: list[Fault]) -> dict[str, ObjectStore]:
    """Open each source of a plan and return them by name.

    Args:
        plan: The plan.
        folder: Folder that relative paths of the plan begin in.
        tree: The project's tree.
        faults: List that the faults of invalid sources are added to.

    """
    stores: dict[str, ObjectStore] = {}
    for name, source in plan.sources.items():
        location = f"sources.{name}"
        try:
            objects = _open_source(source, folder, tree)
        except ConfigError as error:
            faults += [Fault(location, str(fault)) for fault in error.faults]
            continue
        except PokeflowError as error:
            faults.append(Fault(location, str(error)))
            continue
        if isinstance(objects, Folder) and not objects.root.is_dir():
            faults.append(Fault(location, f"the folder {objects.root} does not exist. Correct the path."))
        elif f"{objects.uri}/".startswith(f"{tree.objects.uri}/"):
            faults.append(Fault(location, f"{objects.uri} is in the project's own tree. Choose another source."))
        else:
            stores[name] = objects
    return stores


def _open_source(source: Source, folder: Path, tree: Tree) -> ObjectStore:
    if not source.at.startswith("s3://"):
        if not source.at.strip():
            raise ConfigError([Fault("at", "must not be empty. Set a folder or a URI.")])
        is_uri = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", source.at)
        return open_uri(source.at if is_uri else str(folder / Path(source.at).expanduser()))
    return open_related(tree.objects, source.at, endpoint=source.endpoint, region=source.region)


def inside(source: ObjectStore, tree: Tree) -> str | None:
    """Return the prefix of a source that contains the tree itself, or None if the tree is not in the source."""
    prefix = f"{source.uri}/"
    return f"{tree.objects.uri.removeprefix(prefix)}/" if f"{tree.objects.uri}/".startswith(prefix) else None


def list_source(source: ObjectStore, prefix: str) -> Iterator[ObjectInfo]:
    """Return the objects below a prefix whose names are valid keys; others are reported by ``hidden``."""
    return (entry for entry in source.list(prefix) if entry.key.isascii() or _is_key(entry.key))


def hidden(source: ObjectStore, prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason for each item of a folder below these prefixes that cannot be migrated."""
    if not isinstance(source, Folder):
        return
    start = source.root / source.inside
    for prefix in prefixes:
        for folder, folders, files in os.walk(start / prefix.rpartition("/")[0], followlinks=False):
            for name in (*folders, *files):
                path = Path(folder) / name
                below = path.relative_to(start).as_posix()
                is_folder = name in folders
                reason = _why_hidden(path, below, is_folder=is_folder)
                if reason and is_folder:
                    folders.remove(name)
                if reason and (below.startswith(prefix) or (is_folder and prefix.startswith(f"{below}/"))):
                    yield str(path), reason
            folders[:] = [name for name in folders if name.casefold() != OWN]


def _why_hidden(path: Path, below: str, *, is_folder: bool) -> str | None:
    if path.is_symlink():
        return "a link, which is not followed"
    if not is_folder and not path.is_file():
        return "not a regular file"
    return None if _is_key(below) else "its name is not a valid key"


def _is_key(path: str) -> bool:
    try:
        require_key(path)
        path.encode()
    except (PokeflowError, UnicodeEncodeError):
        return False
    return True
