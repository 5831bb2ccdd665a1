"""Artifacts of one run or model, in a folder, in a bucket or on a server: listed, and fetched one by one."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pokeflow import PokeflowError
from pokeflow.objects import Folder, ObjectStore, require_key
from pokeflow_mlflow.address import redact


class Files(Protocol):
    """Artifacts of one run or model, by path."""

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in bytes, by path."""
        ...

    def fetch(self, path: str, folder: Path) -> Path:
        """Return a local file with the bytes and the name of an artifact; a download is written to ``folder``."""
        ...

    def sha256(self, path: str) -> str | None:
        """Return the checksum of an artifact, or None if it is not cheap to obtain."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """Files below a folder or below a prefix of a bucket; links are not followed."""

    objects: ObjectStore
    prefix: str = ""

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in bytes, from one listing."""
        return {entry.key[len(self.prefix) :]: entry.size for entry in self.objects.list(self.prefix)}

    def fetch(self, path: str, folder: Path) -> Path:
        """Return the file itself from a folder of this machine; download it from a bucket."""
        if isinstance(self.objects, Folder):
            return self.objects.path(self.prefix + path)
        target = folder / posixpath.basename(path)
        self.objects.download(self.prefix + path, target)
        return target

    def sha256(self, path: str) -> str | None:
        """Return the checksum: computed in a folder, in a bucket the one that the server keeps, if any."""
        if isinstance(self.objects, Folder):
            return self.objects.sha256(self.prefix + path)
        entry = self.objects.stat(self.prefix + path)
        return entry.sha256 if entry else None


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Files in one of MLflow's artifact repositories."""

    uri: str
    tracking_uri: str

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in bytes, listed folder by folder."""
        return dict(self._list(self._repository(), ""))

    def fetch(self, path: str, folder: Path) -> Path:
        """Download an artifact to ``folder``; raise a PokeflowError if that fails."""
        from mlflow.exceptions import MlflowException

        target = folder / posixpath.basename(path)
        try:
            self._repository()._download_file(path, str(target))
        except (MlflowException, OSError) as error:
            raise PokeflowError(f"artifact {path} cannot be read: {redact(str(error))}") from None
        return target

    def sha256(self, path: str) -> str | None:
        """Return None: artifact repositories keep no checksums."""
        return None

    def _repository(self) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self.uri, tracking_uri=self.tracking_uri)

    def _list(self, repository: Any, folder: str) -> Iterator[tuple[str, int]]:
        for entry in repository.list_artifacts(folder or None):
            # Paths that a server lists must be below the requested folder.
            if require_key(entry.path) == folder or (folder and not entry.path.startswith(f"{folder}/")):
                continue
            if entry.is_dir:
                yield from self._list(repository, entry.path)
            else:
                yield entry.path, entry.file_size or 0


@dataclass(frozen=True, slots=True)
class NoFiles:
    """Artifacts that cannot be reached, and the reason; it is not even known whether there are any."""

    reason: str

    def sizes(self) -> dict[str, int]:
        """Raise a PokeflowError with the reason."""
        raise PokeflowError(self.reason)

    def fetch(self, path: str, folder: Path) -> Path:
        """Raise a PokeflowError with the reason."""
        raise PokeflowError(self.reason)

    def sha256(self, path: str) -> str | None:
        """Raise a PokeflowError with the reason."""
        raise PokeflowError(self.reason)


@dataclass(frozen=True, slots=True)
class ArtifactResolver:
    """Resolution of a store's artifact URIs to the artifacts.

    Folders of this machine are read only below ``roots`` and the values of ``new_prefixes``: a store that comes
    from outside could name any file.

    Attributes:
        tracking_uri: The URI of the store.
        base: The folder that relative paths refer to.
        new_prefixes: New beginnings of artifact URIs, by their old beginnings.
        roots: The folders that may be read; None for a trusted store, which may name any folder.

    """

    tracking_uri: str
    base: Path
    new_prefixes: Mapping[str, str]
    roots: Sequence[Path] | None = None

    def files(self, uri: str) -> Files:
        """Return the artifacts at a URI."""
        uri = self._current_uri(uri)
        folder = local(uri, self.base)
        if folder is not None:
            is_allowed = self.roots is None or any(
                folder.is_relative_to(root.resolve()) for root in self._readable_folders()
            )
            return StoredFiles(Folder(folder)) if is_allowed else NoFiles(self._outside_message(uri))
        if uri.startswith("mlflow-artifacts:") and not self.tracking_uri.startswith("http"):
            return NoFiles(
                f"the artifacts at {uri} are behind a server. Set their location: artifacts: {{{_root(uri)}: …}}."
            )
        return RemoteFiles(uri, self.tracking_uri)

    def is_gone(self, uri: str) -> bool:
        """Return whether even the experiment's folder of these artifacts is missing: it may have been moved."""
        folder = local(self._current_uri(uri), self.base)
        return self.roots is not None and folder is not None and not folder.parent.parent.exists()

    def _current_uri(self, uri: str) -> str:
        for old, new in sorted(self.new_prefixes.items(), key=lambda pair: -len(pair[0])):
            if uri == old or uri.startswith(old.rstrip("/") + "/"):
                return f"{new.rstrip('/')}/{uri[len(old) :].lstrip('/')}"
        return uri

    def _readable_folders(self) -> Iterator[Path]:
        yield from self.roots or ()
        yield from (folder for new in self.new_prefixes.values() if (folder := local(new, self.base)) is not None)

    def _outside_message(self, uri: str) -> str:
        return (
            f"the artifacts at {redact(uri)} are outside of the source. To migrate them anyway, set artifacts: "
            f"{{{redact(uri)}: {redact(uri)}}}; if they were moved, map to the new location."
        )


def local(uri: str, base: Path) -> Path | None:
    """Return the folder of this machine that a URI names, with links and ``..`` resolved; None for any other URI."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or (parts.netloc not in ("", "localhost")):
        return None
    return (base / (unquote(parts.path) if parts.scheme else uri)).resolve()


def is_local(uri: str) -> bool:
    """Return whether a URI names a folder of this machine."""
    return local(uri, Path("/")) is not None


def _root(uri: str) -> str:
    return f"{uri.partition(':')[0]}:/"


def checksum(file: Path) -> str:
    """Return the SHA-256 of a local file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
