"""What is flushed to disk, and before what: a power cut at any moment leaves a whole release."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update.root import Root, State


@pytest.fixture
def disk(monkeypatch):
    """Order of what is flushed and renamed, by names; the flushes themselves are left out."""
    events = []

    def renamed(kind, function):
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
    monkeypatch.setattr(Path, "replace", renamed("replace", Path.replace))
    monkeypatch.setattr(Path, "rename", renamed("rename", Path.rename))
    return events


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "device"
    folder.mkdir()
    return Root(folder)


def test_the_state_is_flushed_before_it_takes_its_name_and_its_folder_after(root, disk):
    root.write(State(good=1, floor=1))
    assert disk == [("flush", "state.json.new"), ("replace", "state.json.new", "state.json"), ("flush", "device")]
    assert root.state() == State(good=1, floor=1)
    assert (root.folder / "state.json").read_text() == json.dumps(asdict(root.state()), indent=2)


def test_a_change_leaves_no_file_open(root):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers alone
    for sequence in range(20):
        root.write(State(good=sequence, floor=1))
    assert len(os.listdir("/proc/self/fd")) < before + 3  # noqa: PTH208 - the same


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"target": "cpu", "model": 1}', b"[" * 100_000])
def test_a_release_whose_description_is_damaged_is_told_with_what_to_do(root, content):
    root.release(7).mkdir(parents=True)
    if content is not None:
        (root.release(7) / "bundle.json").write_bytes(content)
    with pytest.raises(PokeflowError, match=r"releases/7/bundle\.json: damaged \(.*Install the same release again"):
        root.about(7)


def test_an_installation_that_is_not_there_cannot_be_locked(tmp_path):
    with pytest.raises(PokeflowError, match="no such installation"), Root(tmp_path / "nowhere").lock():
        pass
    assert not (tmp_path / "nowhere").exists()


def test_a_state_that_nests_without_end_is_rebuilt_from_the_link(root):
    root.switch(7)
    (root.folder / "state.json").write_bytes(b"[" * 100_000)
    assert root.state() == State(good=7, floor=7)


def test_a_release_is_flushed_whole_before_it_takes_its_place_and_its_folder_after(root, disk, tmp_path):
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "model").write_bytes(b"new")
    root.keep(staged, 7)
    assert disk == [("flush all",), ("rename", "staged", "7"), ("flush", "releases")]
    assert (root.release(7) / "model").read_bytes() == b"new"


def test_a_release_takes_the_place_of_a_damaged_one(root, disk, tmp_path):
    for content in (b"old", b"new"):
        staged = tmp_path / "staged"
        staged.mkdir()
        (staged / content.decode()).write_bytes(content)
        root.keep(staged, 7)
    assert [path.name for path in root.release(7).iterdir()] == ["new"]


def test_the_link_is_moved_at_once_and_its_folder_flushed(root, disk):
    (root.folder / "current.new").symlink_to("left by an update that was cut off")
    root.switch(7)
    assert disk == [("replace", "current.new", "current"), ("flush", "device")]
    assert str((root.folder / "current").readlink()) == "releases/7"
    assert root.current == 7


@pytest.mark.parametrize("name", ["x", "-1", "1.5", "²", "٣", ""])
def test_a_link_whose_name_is_no_number_is_no_release(root, name):
    (root.folder / "current").symlink_to(f"releases/{name}")
    assert root.current is None


@pytest.mark.parametrize(
    "values",
    [{"good": "1"}, {"previous": 1.0}, {"trial": True}, {"floor": None}, {"failed": ["1"]}, {"failed": 1}],
)
def test_a_state_of_other_types_is_rebuilt_from_the_link(root, values):
    root.switch(7)
    root.write(State(**{"good": 7, "previous": 5, "floor": 7, **values}))
    assert root.state() == State(good=7, floor=7)


def test_only_releases_that_are_needed_are_kept(root):
    root.switch(1)
    for name in ("1", "2", "3", "4", "5", "notes"):
        root.release(name).mkdir(parents=True)
    root.prune(State(good=2, previous=3, trial=4))
    assert sorted(path.name for path in (root.folder / "releases").iterdir()) == ["1", "2", "3", "4", "notes"]
