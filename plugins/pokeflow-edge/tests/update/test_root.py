"""Writes are flushed in an order that leaves a complete release after a power cut at any moment."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update.root import Root, State


@pytest.fixture
def disk(monkeypatch):
    """Record the order of flushes and renames by name; nothing is really flushed."""
    events = []

    def recording(kind, function):
        def rename(self, target):
            events.append((kind, self.name, Path(target).name))
            return function(self, target)

        return rename

    def flush(handle):
        file = Path(f"/proc/self/fd/{handle}").resolve()
        assert file.is_dir() or file.stat().st_size, "what is flushed is still in Python's own buffer"
        events.append(("flush", file.name))

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "sync", lambda: events.append(("flush all",)))
    monkeypatch.setattr(Path, "replace", recording("replace", Path.replace))
    monkeypatch.setattr(Path, "rename", recording("rename", Path.rename))
    return events


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "device"
    folder.mkdir()
    return Root(folder)


def test_state_is_flushed_before_rename_and_its_folder_after(root, disk):
    root.write(State(good=1, floor=1))
    assert disk == [("flush", "state.json.new"), ("replace", "state.json.new", "state.json"), ("flush", "device")]
    assert root.state() == State(good=1, floor=1)
    assert (root.folder / "state.json").read_text() == json.dumps(asdict(root.state()), indent=2)


def test_write_leaves_no_file_open(root):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers alone
    for sequence in range(20):
        root.write(State(good=sequence, floor=1))
    assert len(os.listdir("/proc/self/fd")) < before + 3  # noqa: PTH208 - the same


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"target": "cpu", "model": 1}', b"[" * 100_000])
def test_damaged_release_description_is_reported_with_advice(root, content):
    root.release(7).mkdir(parents=True)
    if content is not None:
        (root.release(7) / "bundle.json").write_bytes(content)
    with pytest.raises(PokeflowError, match=r"releases/7/bundle\.json: damaged \(.*Install the same release again"):
        root.about(7)


def test_missing_installation_cannot_be_locked(tmp_path):
    with pytest.raises(PokeflowError, match="no such installation"), Root(tmp_path / "nowhere").lock():
        pass
    assert not (tmp_path / "nowhere").exists()


def test_deeply_nested_state_is_rebuilt_from_the_link(root):
    root.switch(7)
    (root.folder / "state.json").write_bytes(b"[" * 100_000)
    assert root.state() == State(good=7, floor=7)


def test_release_is_flushed_before_rename_and_its_folder_after(root, disk, tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "model").write_bytes(b"new")
    root.keep(staged, 7)
    assert disk == [("flush all",), ("rename", "staged", "7"), ("flush", "releases")]
    assert (root.release(7) / "model").read_bytes() == b"new"


def test_release_replaces_a_damaged_one(root, disk, tmp_path):
    for content in (b"old", b"new"):
        staged = tmp_path / "staged"
        staged.mkdir()
        (staged / content.decode()).write_bytes(content)
        root.keep(staged, 7)
    assert [path.name for path in root.release(7).iterdir()] == ["new"]


def test_link_is_replaced_atomically_and_flushed(root, disk):
    (root.folder / "current.new").symlink_to("left by an update that was cut off")
    root.switch(7)
    assert disk == [("replace", "current.new", "current"), ("flush", "device")]
    assert str((root.folder / "current").readlink()) == "releases/7"
    assert root.current == 7


@pytest.mark.parametrize("name", ["x", "-1", "1.5", "²", "٣", ""])
def test_link_to_a_non_numeric_name_is_no_release(root, name):
    (root.folder / "current").symlink_to(f"releases/{name}")
    assert root.current is None


@pytest.mark.parametrize(
    "values",
    [{"good": "1"}, {"previous": 1.0}, {"trial": True}, {"floor": None}, {"failed": ["1"]}, {"failed": 1}],
)
def test_state_with_wrong_types_is_rebuilt_from_the_link(root, values):
    root.switch(7)
    root.write(State(**{"good": 7, "previous": 5, "floor": 7, **values}))
    assert root.state() == State(good=7, floor=7)


def test_prune_removes_unneeded_releases(root):
    root.switch(1)
    for name in ("1", "2", "3", "4", "5", "notes"):
        root.release(name).mkdir(parents=True)
    root.prune(State(good=2, previous=3, trial=4))
    assert sorted(path.name for path in (root.folder / "releases").iterdir()) == ["1", "2", "3", "4", "notes"]
