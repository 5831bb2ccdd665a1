"""The artifacts of one run or model, wherever they lie: listed, and handed over one by one."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pokeflow import PokeflowError
from pokeflow.objects import Folder, Objects, require_key
from pokeflow_mlflow.address import redact


class Files(Protocol):
    """Artifacts by path."""

    def sizes(self) -> dict[str, int]:
        """Every file's size in bytes."""
        ...

    def fetch(self, path: str, folder: Path) -> Path:
        """A local file with the bytes and the name of an artifact; in ``folder`` if it is fetched from elsewhere."""
        ...

    def sha256(self, path: str) -> str | None:
        """The checksum, where it is cheap to know."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """Files below a folder or a prefix of a bucket; links are not followed."""

    objects: Objects
    prefix: str = ""

    def sizes(self) -> dict[str, int]:
        """By listing."""
        return {entry.key[len(self.prefix) :]: entry.size for entry in self.objects.list(self.prefix)}

    def fetch(self, path: str, folder: Path) -> Path:
        """The file itself, where it lies on this machine."""
        if isinstance(self.objects, Folder):
            return self.objects.path(self.prefix + path)
        target = folder / posixpath.basename(path)
        self.objects.download(self.prefix + path, target)
        return target

    def sha256(self, path: str) -> str | None:
        """Read, in a folder; in a bucket, what the server keeps."""
        if isinstance(self.objects, Folder):
            return self.objects.sha256(self.prefix + path)
        entry = self.objects.stat(self.prefix + path)
        return entry.sha256 if entry else None


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Files behind one of MLflow's artifact repositories."""

    uri: str
    tracking_uri: str

    def sizes(self) -> dict[str, int]:
        """Folder by folder."""
        return dict(self._list(self._repository(), ""))

    def fetch(self, path: str, folder: Path) -> Path:
        """Downloaded."""
        from mlflow.exceptions import MlflowException

        target = folder / posixpath.basename(path)
        try:
            self._repository()._download_file(path, str(target))
        except (MlflowException, OSError) as error:
            raise PokeflowError(f"artifact {path} cannot be read: {redact(str(error))}") from None
        return target

    def sha256(self, path: str) -> str | None:
        """Nobody keeps it."""
        return None

    def _repository(self) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self.uri, tracking_uri=self.tracking_uri)

    def _list(self, repository: Any, folder: str) -> Iterator[tuple[str, int]]:
        for entry in repository.list_artifacts(folder or None):
            # What a server names must lie below the folder that was asked for.
            if require_key(entry.path) == folder or (folder and not entry.path.startswith(f"{folder}/")):
                continue
            if entry.is_dir:
                yield from self._list(repository, entry.path)
            else:
                yield entry.path, entry.file_size or 0


@dataclass(frozen=True, slots=True)
class NoFiles:
    """Artifacts that cannot be reached, and why; to know that there are none, they would have to be."""

    why: str

    def sizes(self) -> dict[str, int]:
        """Never known."""
        raise PokeflowError(self.why)

    def fetch(self, path: str, folder: Path) -> Path:
        """Never there."""
        raise PokeflowError(self.why)

    def sha256(self, path: str) -> str | None:
        """Never known."""
        raise PokeflowError(self.why)


@dataclass(frozen=True, slots=True)
class Places:
    """Where artifact URIs of a store lead: ``moved`` gives old beginnings and what they are now.

    Folders of this machine are read only below ``roots`` and where ``moved`` leads: a store that comes from outside
    could name any file. Relative ones begin at ``base``. ``roots`` of None is a store that is trusted.
    """

    tracking_uri: str
    base: Path
    moved: Mapping[str, str]
    roots: Sequence[Path] | None = None

    def files(self, uri: str) -> Files:
        """The artifacts at a URI."""
        uri = self._now(uri)
        folder = local(uri, self.base)
        if folder is not None:
            allowed = self.roots is None or any(folder.is_relative_to(root.resolve()) for root in self._allowed())
            return StoredFiles(Folder(folder)) if allowed else NoFiles(self._outside(uri))
        if uri.startswith("mlflow-artifacts:") and not self.tracking_uri.startswith("http"):
            return NoFiles(f"the artifacts at {uri} were served. Say where they lie: artifacts: {{{_root(uri)}: …}}.")
        return RemoteFiles(uri, self.tracking_uri)

    def is_gone(self, uri: str) -> bool:
        """Whether not even the folder of an experiment's artifacts is there: they may have been moved."""
        folder = local(self._now(uri), self.base)
        return self.roots is not None and folder is not None and not folder.parent.parent.exists()

    def _now(self, uri: str) -> str:
        for old, new in sorted(self.moved.items(), key=lambda pair: -len(pair[0])):
            if uri == old or uri.startswith(old.rstrip("/") + "/"):
                return f"{new.rstrip('/')}/{uri[len(old) :].lstrip('/')}"
        return uri

    def _allowed(self) -> Iterator[Path]:
        yield from self.roots or ()
        yield from (folder for new in self.moved.values() if (folder := local(new, self.base)) is not None)

    def _outside(self, uri: str) -> str:
        return (
            f"the artifacts lie at {redact(uri)}, outside of what is migrated. If they are meant, say so: artifacts: "
            f"{{{redact(uri)}: {redact(uri)}}}; if they were moved, say where to."
        )


def local(uri: str, base: Path) -> Path | None:
    """The folder of this machine that a URI names, links and ``..`` resolved; None for any other place."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or (parts.netloc not in ("", "localhost")):
        return None
    return (base / (unquote(parts.path) if parts.scheme else uri)).resolve()


def is_local(uri: str) -> bool:
    """Whether a URI names a folder of this machine."""
    return local(uri, Path("/")) is not None


def _root(uri: str) -> str:
    return f"{uri.partition(':')[0]}:/"


def checksum(file: Path) -> str:
    """SHA-256 of a local file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
