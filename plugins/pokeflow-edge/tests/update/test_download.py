"""Downloads start anew, resume a part, or use a complete archive."""

import hashlib
from contextlib import contextmanager
from io import BytesIO

import pytest

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime.update import download
from pokeflow_edge.runtime.update.releases import Release, ReleaseRejectedError

CONTENT = bytes(range(256)) * 10
RELEASE = Release("a.tar.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "a", "v1", "cpu", 1, "0.1.0")


class Source:
    """A source with this content; ``opened`` has the offsets from which it was read."""

    label = "here"

    def __init__(self, content=CONTENT):
        self.content, self.opened = content, []

    @contextmanager
    def open(self, name, start):
        assert name == RELEASE.archive
        self.opened.append(start)
        yield BytesIO(self.content[start:])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "root" / "downloads"


def with_part(folder, content):
    folder.mkdir(parents=True)
    (folder / f"{RELEASE.sha256}.part").write_bytes(content)
    return folder


def test_archive_is_downloaded_completely(folder):
    source = Source()
    assert download.fetch(source, RELEASE, folder).read_bytes() == CONTENT
    assert source.opened == [0]


def test_complete_archive_is_not_downloaded_again(folder):
    source = Source()
    assert download.fetch(source, RELEASE, with_part(folder, CONTENT)).read_bytes() == CONTENT
    assert source.opened == []


@pytest.mark.parametrize("size", [1, 2, len(CONTENT) - 1])
def test_partial_download_is_resumed(folder, size):
    source = Source()
    assert download.fetch(source, RELEASE, with_part(folder, CONTENT[:size])).read_bytes() == CONTENT
    assert source.opened == [size]


@pytest.mark.parametrize("size", [1, 2, len(CONTENT)])
def test_damaged_part_is_downloaded_again_once(folder, size):
    source = Source()
    assert download.fetch(source, RELEASE, with_part(folder, b"\xff" * size)).read_bytes() == CONTENT
    assert source.opened == ([size, 0] if size < len(CONTENT) else [0])


@pytest.mark.parametrize("part", [None, b""])
def test_wrong_archive_is_downloaded_once_and_refused(folder, part):
    source = Source(bytes(len(CONTENT)))
    with pytest.raises(ReleaseRejectedError, match="not the archive that was signed"):
        download.fetch(source, RELEASE, folder if part is None else with_part(folder, part))
    assert source.opened == [0]
    assert list(folder.iterdir()) == []


def test_truncated_download_keeps_its_part(folder):
    with pytest.raises(PokeflowError, match="ended 10 bytes too early"):
        download.fetch(Source(CONTENT[:-10]), RELEASE, folder)
    assert (folder / f"{RELEASE.sha256}.part").read_bytes() == CONTENT[:-10]
