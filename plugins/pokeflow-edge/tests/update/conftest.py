"""A maker that signs releases of a small bundle, and an installation on a device."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pokeflow_edge.pack import archive
from pokeflow_edge.release import keys
from pokeflow_edge.runtime.update import run
from pokeflow_edge.runtime.update.root import Root
from pokeflow_edge.runtime.update.sources import Folder

CHECK = '''
"""A stub of the runtime; its self-test fails if the model starts with ``sick``."""
import pathlib, sys
model = pathlib.Path(sys.argv[sys.argv.index("--bundle") + 1]) / "model" / "model"
if model.read_bytes().startswith(b"sick"):
    sys.exit("the model gives nothing.")
'''
ALL = ("current", "releases", "release.pub", "state.json", "update.lock")


def bundle(version: str, weights: bytes, **about: Any) -> dict[str, bytes]:
    """Return the files of a small, consistent bundle."""
    files = {
        "model/model": weights,
        "lib/pokeflow_edge/__init__.py": b"",
        "lib/pokeflow_edge/runtime/__init__.py": b"",
        "lib/pokeflow_edge/runtime/__main__.py": CHECK.encode(),
        "bin/recognize": b"#!/bin/sh\n",
    }
    sums = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    description = {
        "format": 1, "model": {"name": "small", "digest": "d"}, "version": version, "target": "cpu",
        "preprocessing": "p", "exclusive": False, "files": sums,
    }  # fmt: skip
    return files | {"bundle.json": json.dumps(description | about).encode()}


def tar(members: Mapping[str, bytes] | list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return an archive of these members, which may be hostile."""
    out = io.BytesIO()
    pairs = members if isinstance(members, list) else [(tarfile.TarInfo(name), data) for name, data in members.items()]
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as packed:
        for entry, data in pairs:
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class Maker:
    """The folder of the releases, and the key that signs them."""

    folder: Path
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def release(
        self,
        sequence: int,
        version: str = "",
        *,
        weights: bytes = b"",
        packed: bytes = b"",
        says: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> Path:
        """Write a signed release to the folder; ``says`` has the values of release.json that are wrong."""
        self.folder.mkdir(exist_ok=True)
        version = version or f"v{sequence}"
        name = f"small-{version}-cpu.tar.gz"
        if packed:
            (self.folder / name).write_bytes(packed)
        else:
            content = bundle(version, weights or f"model {sequence}".encode() * 5000, **about)
            archive.write(self.folder / name, content, ["bin/recognize"])
        data = (self.folder / name).read_bytes()
        document = {
            "archive": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "model": "small",
            "version": version, "target": "cpu", "sequence": sequence, "pokeflow": "0.1.0", **(says or {}),
        }  # fmt: skip
        self.sign(json.dumps(document).encode())
        return self.folder

    def sign(self, text: bytes) -> None:
        (self.folder / "release.json").write_bytes(text)
        (self.folder / "release.json.sig").write_bytes(self.key.sign(text))
        (self.folder / "release.pub").write_bytes(keys.public(self.key))


@dataclass
class FakeService:
    """A double of the service: a restart runs the current release, which is healthy unless it is in ``sick``.

    ``events`` has the release of each restart, and None for each stop; ``stuck`` is why it does not stop.
    """

    root: Root
    sick: tuple[int, ...] = ()
    stuck: str = ""
    restart: str = "restart"
    stop: str = "stop"
    events: list[Any] = field(default_factory=list)

    @property
    def running(self) -> int | None:
        return self.events[-1] if self.events else None

    def restart_and_wait(self, about: Mapping[str, Any]) -> str:
        current = self.root.current
        self.events.append(current)
        assert current is not None
        assert about == self.root.about(current)
        return "it coughs" if current in self.sick else ""

    def stop_and_wait(self) -> str:
        self.events.append(None)
        return self.stuck


def fake_self_test(folder: Path) -> str:
    """Fail for a model that starts with ``sick``, without running the bundle."""
    return "it is sick." if (folder / "model" / "model").read_bytes().startswith(b"sick") else ""


@dataclass(frozen=True)
class Device:
    """An installation with its maker and a double of its service."""

    root: Root
    maker: Maker

    @property
    def keys(self) -> Path:
        return self.root.folder / "release.pub"

    def service(self, *sick: int) -> FakeService:
        return FakeService(self.root, sick)

    def update(self, service: Any = None, **how: Any) -> str:
        how = {"tried": fake_self_test} | how
        return run.update(self.root, Folder(str(self.maker.folder)), self.keys, service or self.service(), **how)

    def snapshot(self) -> dict[str, Any]:
        """Return every file and link of the installation, except those that an update may leave behind."""
        snapshot = {}
        for parent, folders, files in os.walk(self.root.folder):
            for name in (*files, *(f for f in folders if (Path(parent) / f).is_symlink())):
                path = Path(parent) / name
                key = path.relative_to(self.root.folder).as_posix()
                if key.partition("/")[0] not in ("downloads", "staging", "update.lock"):
                    snapshot[key] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
        return snapshot

    def require_whole(self) -> int:
        """Check every file of the current release against its bundle.json, and return its sequence."""
        current = self.root.current
        assert current is not None
        folder = self.root.folder / "current"
        for name, entry in self.root.about(current)["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"], name
        return current


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip ``os.sync``: tests have no power cuts, and flushing a busy disk is slow."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "releases of the maker")


@pytest.fixture
def empty(tmp_path: Path, maker: Maker) -> Device:
    """Return a device with the pinned key and no release."""
    root = tmp_path / "device"
    root.mkdir()
    (root / "release.pub").write_bytes(keys.public(maker.key))
    return Device(Root(root), maker)


@pytest.fixture
def device(empty: Device) -> Device:
    """Return a device that serves release 100."""
    empty.maker.release(100)
    empty.update()
    return empty
