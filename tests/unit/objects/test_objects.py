"""What every place of objects does: the same for a folder and for a bucket."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import ABSENT, IntegrityError, NotFoundError, ObjectStore, PreconditionError
from pokeflow.objects._folder import Folder
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.objects_support import LARGE, keys, sha256

WRONG = ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a\nb", "a\x00b", "a" * 901, " "]


@pytest.fixture(params=["folder", "bucket", "prefix"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return Folder(tmp_path / "root")
    name = request.getfixturevalue("s3").name
    return Bucket(name, "some/prefix" if request.param == "prefix" else "")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(data: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return make


def test_what_is_written_is_read(objects: ObjectStore) -> None:
    etag = objects.write("metadata/a b é.json", b"one", match=None)
    assert objects.read("metadata/a b é.json") == (b"one", etag)


def test_write_read_stat_and_list_tell_the_same_etag_and_size(objects: ObjectStore) -> None:
    etag = objects.write("a/b", b"one", match=None)
    found = objects.stat("a/b")
    (listed,) = objects.list()
    assert found is not None
    assert (found.key, found.size, found.etag) == ("a/b", 3, etag) == (listed.key, listed.size, listed.etag)
    assert found.sha256 in (None, sha256(b"one"))
    assert int(found.modified) == int(listed.modified)


def test_every_write_of_other_bytes_gives_another_etag(objects: ObjectStore) -> None:
    etags = [objects.write("a", b"%d" % n, match=None) for n in range(9)]
    assert len(set(etags)) == 9


def test_nothing_is_missing_not_empty(objects: ObjectStore, tmp_path: Path) -> None:
    objects.write("a/b", b"", match=None)
    for nothing in ("c", "a", "a/b/c"):
        assert objects.stat(nothing) is None
        for ask in (
            objects.read,
            objects.sha256,
            lambda key: objects.download(key, tmp_path / "target"),
            lambda key: objects.copy(objects, key, "d", match=None),
        ):
            with pytest.raises(NotFoundError, match=nothing):
                ask(nothing)
    assert not (tmp_path / "target").exists()
    assert keys(objects) == ["a/b"]


def test_absent_writes_where_nothing_lies_and_nowhere_else(objects: ObjectStore) -> None:
    objects.write("a", b"first", match=ABSENT)
    with pytest.raises(PreconditionError):
        objects.write("a", b"second", match=ABSENT)
    assert objects.read("a")[0] == b"first"


def test_an_etag_writes_over_that_object_alone(objects: ObjectStore) -> None:
    first = objects.write("a", b"1", match=ABSENT)
    second = objects.write("a", b"2", match=first)
    with pytest.raises(PreconditionError):
        objects.write("a", b"3", match=first)
    assert objects.read("a") == (b"2", second)


def test_an_etag_of_what_is_gone_is_a_conflict(objects: ObjectStore) -> None:
    etag = objects.write("a", b"1", match=None)
    objects.delete("a")
    with pytest.raises(PreconditionError):
        objects.write("a", b"2", match=etag)
    assert keys(objects) == []


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_uploads_keep_the_same_conditions(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
    source = file(data)
    objects.upload(source, "a", sha256=sha256(data), match=ABSENT)
    found = objects.stat("a")
    assert found is not None
    source.write_bytes(data + b"!")
    with pytest.raises(PreconditionError):
        objects.upload(source, "a", sha256=sha256(data + b"!"), match=ABSENT)
    with pytest.raises(PreconditionError):
        objects.upload(source, "a", sha256=sha256(data + b"!"), match="another")
    assert objects.sha256("a") == sha256(data)
    objects.upload(source, "a", sha256=sha256(data + b"!"), match=found.etag)
    assert objects.sha256("a") == sha256(data + b"!")


@pytest.mark.parametrize("match", [ABSENT, "another"])
def test_a_write_that_finds_its_own_bytes_is_a_success(
    objects: ObjectStore, file: Callable[[bytes], Path], match: str
) -> None:
    etag = objects.write("a", b"same", match=ABSENT)
    assert objects.write("a", b"same", match=match) == etag
    objects.upload(file(b"same"), "a", sha256=sha256(b"same"), match=match)
    assert objects.copy(objects, "a", "a2", match=None) == sha256(b"same")
    assert objects.copy(objects, "a", "a2", match=match) == sha256(b"same")


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_file_goes_and_comes_back(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
    passed: list[float] = []
    objects.upload(file(data), "a/b", sha256=sha256(data), match=None, advance=passed.append)
    assert sum(passed) == len(data)
    target = file(b"").with_name("new") / "folder" / "target"
    passed.clear()
    assert objects.download("a/b", target, sha256=sha256(data), advance=passed.append) == sha256(data)
    assert sum(passed) == len(data)
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert objects.sha256("a/b") == sha256(data)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_an_upload_of_other_bytes_than_told_leaves_nothing(
    objects: ObjectStore, file: Callable[[bytes], Path], data: bytes
) -> None:
    with pytest.raises(IntegrityError, match="file"):
        objects.upload(file(data), "a", sha256=sha256(b"other"), match=None)
    assert keys(objects) == []


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_a_download_of_other_bytes_than_told_leaves_the_target(
    objects: ObjectStore, file: Callable[[bytes], Path], data: bytes
) -> None:
    objects.upload(file(data), "a", sha256=sha256(data), match=None)
    target = file(b"old")
    before = {path.name for path in target.parent.iterdir()}
    with pytest.raises(IntegrityError, match="a"):
        objects.download("a", target, sha256=sha256(b"other"))
    assert target.read_bytes() == b"old"
    assert {path.name for path in target.parent.iterdir()} == before


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_copies_come_from_anywhere(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
    other = Folder(file(b"").with_name("other"))
    passed: list[float] = []
    other.upload(file(data), "there", sha256=sha256(data), match=None)
    assert objects.copy(other, "there", "here", match=ABSENT, advance=passed.append) == sha256(data)
    assert objects.copy(objects, "here", "deep/er", match=ABSENT, advance=passed.append) == sha256(data)
    assert other.copy(objects, "deep/er", "back", match=ABSENT, advance=passed.append) == sha256(data)
    assert sum(passed) == 3 * len(data)
    assert other.sha256("back") == objects.sha256("deep/er") == sha256(data)


def test_copies_keep_conditions(objects: ObjectStore) -> None:
    objects.write("a", b"a", match=None)
    etag = objects.write("b", b"b", match=None)
    for match in (ABSENT, "another"):
        with pytest.raises(PreconditionError):
            objects.copy(objects, "a", "b", match=match)
    assert objects.read("b")[0] == b"b"
    objects.copy(objects, "a", "b", match=etag)
    assert objects.read("b")[0] == b"a"


def test_a_listing_is_sorted_by_key_and_begins_with_any_prefix(objects: ObjectStore) -> None:
    for key in ("b", "a/b/c", "a-b", "a/b.json", "a/bc", "a.b", "é", "a/b-c/d", "Z"):
        objects.write(key, b"", match=None)
    assert keys(objects) == sorted(["b", "a/b/c", "a-b", "a/b.json", "a/bc", "a.b", "é", "a/b-c/d", "Z"])
    assert keys(objects, "a/b") == ["a/b-c/d", "a/b.json", "a/b/c", "a/bc"]
    assert keys(objects, "a/b/") == ["a/b/c"]
    assert keys(objects, "a/") == ["a/b-c/d", "a/b.json", "a/b/c", "a/bc"]
    assert keys(objects, "nothing") == keys(objects, "b/") == keys(objects, "no/thing") == []


def test_deeper_inside_is_the_same_place(objects: ObjectStore) -> None:
    inside = objects.with_prefix("models").with_prefix("teacher/")
    inside.write("v1/a", b"1", match=None)
    assert inside.uri == f"{objects.uri}/models/teacher"
    assert keys(inside) == ["v1/a"]
    assert keys(objects) == ["models/teacher/v1/a"]
    assert objects.copy(inside, "v1/a", "copy", match=None) == sha256(b"1")
    inside.delete("v1/a")
    assert keys(objects) == ["copy"]
    assert objects.with_prefix("") == objects or objects.with_prefix("").uri == objects.uri


def test_what_is_gone_can_be_deleted_again(objects: ObjectStore) -> None:
    objects.write("a/b", b"", match=None)
    for key in ("a/b", "a/b", "c/d"):
        objects.delete(key)
    assert keys(objects) == []


@pytest.mark.parametrize("key", WRONG)
def test_no_wrong_key_is_taken_by_anything(objects: ObjectStore, file: Callable[[bytes], Path], key: str) -> None:
    objects.write("good", b"good", match=None)
    source, sum_ = file(b"good"), sha256(b"good")
    for ask in (
        lambda: objects.read(key),
        lambda: objects.stat(key),
        lambda: objects.write(key, b"", match=None),
        lambda: objects.upload(source, key, sha256=sum_, match=None),
        lambda: objects.download(key, source),
        lambda: objects.copy(objects, key, "a", match=None),
        lambda: objects.copy(objects, "good", key, match=None),
        lambda: objects.sha256(key),
        lambda: objects.delete(key),
    ):
        with pytest.raises(PokeflowError, match="is not a valid key"):
            ask()
    if key not in ("", "a/"):
        with pytest.raises(PokeflowError, match="is not a valid key"):
            objects.with_prefix(key)
    assert keys(objects) == ["good"]


def test_a_prefix_leads_out_of_nothing(objects: ObjectStore) -> None:
    objects.write("a", b"", match=None)
    inside = objects.with_prefix("b")
    for prefix in ("../", "../a", "x/../../a", "/"):
        try:
            assert keys(inside, prefix) == []
        except PokeflowError as error:
            assert "is not a valid key" in str(error)  # noqa: PT017 - either answer is right
