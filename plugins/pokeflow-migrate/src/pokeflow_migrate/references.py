"""Old references, which are URIs and paths that point into a source, and their replacements."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal
from urllib.parse import quote, unquote

from pokeflow.objects import Folder, ObjectStore

Location = tuple[str, str]
"""Name of a source and a key in it: ending in ``/`` for a folder, empty for the source itself."""
MAX_PATH = 4096
"""Maximum number of characters of a path; S3 allows keys of 1,024 bytes."""
_END = r"\s\"'<>|,;()\[\]{}"
"""Characters that end a path within a text, as part of a regular expression."""


class References:
    """Mapping of old locations to new ones, which is filled while files are mapped and queried afterwards.

    The ``style`` ``relative`` gives paths relative to the tree's root instead of URIs.
    """

    def __init__(
        self, sources: Mapping[str, ObjectStore], tree: ObjectStore, style: Literal["uri", "relative"]
    ) -> None:
        self._sources, self._tree, self._style = sources, tree, style
        self._files: dict[Location, str] = {}
        self._folders: dict[Location, str | None] = {}
        self._unmoved: set[Location] = set()
        self._roots: dict[str, Location | str] = {}
        for name, objects in sources.items():
            for root in forms(objects):
                self._roots.setdefault(root, (name, ""))
        self._pattern: re.Pattern[str] | None = None
        self._end = re.compile(f"[{_END}]")

    def add_file(self, source: str, key: str, target: str, common_prefix: str | None) -> None:
        """Add a file that moves to ``target``, and its folders if they move as a whole.

        Args:
            source: Name of the source.
            key: Key in the source.
            target: Path in the tree.
            common_prefix: Common prefix of all keys that the rule covers; None if it covers this file only.

        """
        self._files.setdefault((source, key), target)
        while common_prefix is not None:
            key, _, name = key.rpartition("/")
            target, _, new = target.rpartition("/")
            old = f"{key}/" if key else ""
            if name != new or not target or not old.startswith(common_prefix):
                return
            folder = (source, old)
            # A folder whose files move to two different folders has no new path.
            if self._folders.setdefault(folder, f"{target}/") != f"{target}/":
                self._folders[folder] = None
            if not old:
                return

    def add_unmoved(self, source: str, key: str) -> None:
        """Add a file, or a folder ending in ``/``, that is not moved."""
        self._unmoved.add((source, key))
        folder = key.rstrip("/")
        while folder:
            folder = folder.rpartition("/")[0]
            above = (source, f"{folder}/" if folder else "")
            if above in self._unmoved:
                return
            self._unmoved.add(above)

    def add_prefix(self, old: str, new: str) -> None:
        """Add another old prefix, and the location in a source, or any other prefix, that replaces it."""
        self._roots.setdefault(old.rstrip("/"), self._resolve(new) or new)

    @property
    def prefixes(self) -> Iterable[str]:
        """Prefixes of all old paths."""
        return self._roots

    def replace_paths(self, text: str, *, whole: bool = False, refuse: str = "") -> tuple[str, int, int]:
        """Replace all old paths in a text.

        Args:
            text: Text with old paths.
            whole: The text as a whole may be one path, with spaces or commas in it.
            refuse: Characters that a replacement must not contain; otherwise the old path is kept.

        Returns:
            The new text, the number of replaced paths, and the number of kept paths that point into a source.

        """
        if not any(root in text for root in self._roots):
            return text, 0, 0
        if whole and (new := self._replacement(text, exactly=self._end.search(text) is not None)) is not None:
            return new, 1, 0
        replaced = remaining = 0

        def replace_match(match: re.Match[str]) -> str:
            nonlocal replaced, remaining
            candidate, is_known = match[0], False
            # A path may be followed directly by punctuation.
            for path in dict.fromkeys((candidate, candidate.rstrip(".:!?`*"))):
                new = self._replacement(path)
                if new is not None and not any(sign in new for sign in refuse):
                    replaced += 1
                    return new + candidate[len(path) :]
                is_known = is_known or self._split_root(path) is not None
            remaining += is_known
            return candidate

        return self._compile().sub(replace_match, text), replaced, remaining

    def _compile(self) -> re.Pattern[str]:
        if self._pattern is None:
            roots = "|".join(re.escape(root) for root in sorted(self._roots, key=len, reverse=True))
            self._pattern = re.compile(rf"(?<![\w/.~:-])(?:{roots})(?![^/{_END}.:!?`*])[^{_END}]*")
        return self._pattern

    def _split_root(self, text: str) -> tuple[str, str] | None:
        """Split a text into its longest old prefix and the rest, which is empty or begins with a slash; or None."""
        end = len(text) if len(text) <= MAX_PATH else 0
        while end > 0:
            if text[:end] in self._roots:
                return text[:end], text[end:]
            end = text.rfind("/", 0, end)
        return None

    def _resolve(self, text: str, depth: int = 0) -> Location | None:
        split = self._split_root(text)
        if split is None or depth > 1:
            return None
        root, suffix = split
        new = self._roots[root]
        if isinstance(new, str):
            return self._resolve(_join(new, suffix), depth + 1)
        suffix = unquote(suffix) if root.startswith("file:") else suffix
        return new[0], new[1] + suffix if new[1] else suffix.lstrip("/")

    def _replacement(self, text: str, *, exactly: bool = False) -> str | None:
        """Return the replacement of a whole path, or None; ``exactly``: ignore folders above that are known."""
        split = self._split_root(text)
        if split is None:
            return None
        location = self._resolve(text)
        if location is None:
            new = self._roots[split[0]]
            return _join(new, split[1]) if isinstance(new, str) and not exactly else None
        target = self._target(location, exactly=exactly)
        return None if target is None else self._format_target(target, split[0])

    def _target(self, location: Location, *, exactly: bool) -> str | None:
        source, key = location
        if location in self._files or (location in self._unmoved and not _is_folder(key)):
            return self._files.get(location)
        for folder, suffix in _upwards(key):
            ancestor = (source, folder)
            if exactly and suffix not in ("", "."):
                break
            if ancestor in self._unmoved or ancestor in self._folders:
                target = None if ancestor in self._unmoved else self._folders[ancestor]
                return None if target is None else target.rstrip("/") if suffix == "." else target + suffix
        return None

    def _format_target(self, target: str, root: str) -> str:
        if self._style == "relative":
            return target
        if isinstance(self._tree, Folder) and not root.startswith(("file:", "s3")):
            return f"{self._tree.root / self._tree.inside}/{target}"
        return f"{self._tree.uri}/{quote(target) if isinstance(self._tree, Folder) else target}"


def _upwards(key: str) -> Iterator[tuple[str, str]]:
    """Yield a key as a folder and each folder above it, with the rest of the key; ``.`` if only the slash was added."""
    if key and not key.endswith("/"):
        yield f"{key}/", "."
    else:
        yield key, ""
    folder = key.rstrip("/")
    while folder:
        folder = folder.rpartition("/")[0]
        above = f"{folder}/" if folder else ""
        yield above, key[len(above) :]


def _is_folder(key: str) -> bool:
    return not key or key.endswith("/")


def _join(prefix: str, suffix: str) -> str:
    return prefix.rstrip("/") + suffix if suffix else prefix


def forms(objects: ObjectStore) -> list[str]:
    """Return all spellings of an object store's URI in old metadata."""
    if not isinstance(objects, Folder):
        return [objects.uri, objects.uri.replace("s3://", "s3a://", 1), objects.uri.replace("s3://", "s3n://", 1)]
    path = str(objects.root / objects.inside).rstrip("/")
    return [objects.uri, path, f"file://{path}", f"file:{path}"]
