"""Check that folders and buckets of objects behave alike."""

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


def test_written_bytes_are_read_back(objects: ObjectStore) -> None:
    etag = objects.write("metadata/a b é.json", b"one", match=None)
    assert objects.read("metadata/a b é.json") == (b"one", etag)


def test_write_stat_and_list_agree_on_etag_and_size(objects: ObjectStore) -> None:
    etag = objects.write("a/b", b"one", match=None)
    stat = objects.stat("a/b")
    (listed,) = objects.list()
    assert stat is not None
    assert (stat.key, stat.size, stat.etag) == ("a/b", 3, etag) == (listed.key, listed.size, listed.etag)
    assert stat.sha256 in (None, sha256(b"one"))
    assert int(stat.modified) == int(listed.modified)


def test_other_bytes_get_another_etag(objects: ObjectStore) -> None:
    etags = [objects.write("a", b"%d" % n, match=None) for n in range(9)]
    assert len(set(etags)) == 9


def test_missing_object_is_reported_as_missing(objects: ObjectStore, tmp_path: Path) -> None:
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


def test_absent_condition_writes_only_new_objects(objects: ObjectStore) -> None:
    objects.write("a", b"first", match=ABSENT)
    with pytest.raises(PreconditionError):
        objects.write("a", b"second", match=ABSENT)
    assert objects.read("a")[0] == b"first"


def test_etag_condition_replaces_only_that_version(objects: ObjectStore) -> None:
    first = objects.write("a", b"1", match=ABSENT)
    second = objects.write("a", b"2", match=first)
    with pytest.raises(PreconditionError):
        objects.write("a", b"3", match=first)
    assert objects.read("a") == (b"2", second)


def test_etag_of_a_deleted_object_is_a_conflict(objects: ObjectStore) -> None:
    etag = objects.write("a", b"1", match=None)
    objects.delete("a")
    with pytest.raises(PreconditionError):
        objects.write("a", b"2", match=etag)
    assert keys(objects) == []


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_uploads_keep_the_same_conditions(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
    source = file(data)
    objects.upload(source, "a", sha256=sha256(data), match=ABSENT)
    stat = objects.stat("a")
    assert stat is not None
    source.write_bytes(data + b"!")
    with pytest.raises(PreconditionError):
        objects.upload(source, "a", sha256=sha256(data + b"!"), match=ABSENT)
    with pytest.raises(PreconditionError):
        objects.upload(source, "a", sha256=sha256(data + b"!"), match="another")
    assert objects.sha256("a") == sha256(data)
    objects.upload(source, "a", sha256=sha256(data + b"!"), match=stat.etag)
    assert objects.sha256("a") == sha256(data + b"!")


@pytest.mark.parametrize("match", [ABSENT, "another"])
def test_write_of_the_bytes_already_stored_succeeds(
    objects: ObjectStore, file: Callable[[bytes], Path], match: str
) -> None:
    etag = objects.write("a", b"same", match=ABSENT)
    assert objects.write("a", b"same", match=match) == etag
    objects.upload(file(b"same"), "a", sha256=sha256(b"same"), match=match)
    assert objects.copy(objects, "a", "a2", match=None) == sha256(b"same")
    assert objects.copy(objects, "a", "a2", match=match) == sha256(b"same")


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_upload_and_download_round_trip(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
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
def test_upload_with_a_wrong_checksum_stores_nothing(
    objects: ObjectStore, file: Callable[[bytes], Path], data: bytes
) -> None:
    with pytest.raises(IntegrityError, match="file"):
        objects.upload(file(data), "a", sha256=sha256(b"other"), match=None)
    assert keys(objects) == []


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_download_with_a_wrong_checksum_keeps_the_target(
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
def test_copies_between_kinds_of_storage(objects: ObjectStore, file: Callable[[bytes], Path], data: bytes) -> None:
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


def test_prefix_is_a_view_of_the_same_objects(objects: ObjectStore) -> None:
    inside = objects.with_prefix("models").with_prefix("teacher/")
    inside.write("v1/a", b"1", match=None)
    assert inside.uri == f"{objects.uri}/models/teacher"
    assert keys(inside) == ["v1/a"]
    assert keys(objects) == ["models/teacher/v1/a"]
    assert objects.copy(inside, "v1/a", "copy", match=None) == sha256(b"1")
    inside.delete("v1/a")
    assert keys(objects) == ["copy"]
    assert objects.with_prefix("") == objects or objects.with_prefix("").uri == objects.uri


def test_deleting_a_missing_object_succeeds(objects: ObjectStore) -> None:
    objects.write("a/b", b"", match=None)
    for key in ("a/b", "a/b", "c/d"):
        objects.delete(key)
    assert keys(objects) == []


@pytest.mark.parametrize("key", WRONG)
def test_invalid_keys_are_refused_by_every_method(
    objects: ObjectStore, file: Callable[[bytes], Path], key: str
) -> None:
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


def test_listing_prefix_cannot_leave_the_store(objects: ObjectStore) -> None:
    objects.write("a", b"", match=None)
    inside = objects.with_prefix("b")
    for prefix in ("../", "../a", "x/../../a", "/"):
        try:
            assert keys(inside, prefix) == []
        except PokeflowError as error:
            assert "is not a valid key" in str(error)  # noqa: PT017 - either answer is right
