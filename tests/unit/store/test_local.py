"""The store: atomic, claimed by one at a time, and its versions fixed by whoever is first."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import Backend, File, NoParams, PokeflowError
from pokeflow.digest import content, digest
from pokeflow.flow import Step
from pokeflow.store._atomic import write_atomically
from pokeflow.store._local import Store, list_files, read_record

BACKEND = Backend("toy", "train", lambda task: {}, NoParams)
STEP = Step("train", BACKEND, "teacher", "v1.0", "teacher", NoParams(), (), "local", "0123456789abcdef")


def test_begin_keeps_what_an_attempt_left_and_empties_the_output(tmp_path: Path) -> None:
    store = Store(tmp_path)
    work, output = store.begin(STEP)
    (work / "checkpoint").write_text("kept")
    (output / "half").write_text("gone")
    work, output = store.begin(STEP)
    assert (work / "checkpoint").read_text() == "kept"
    assert list(output.iterdir()) == []


def test_files_without_a_record_are_no_result(tmp_path: Path) -> None:
    folder = Store(tmp_path).folder(STEP)
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text("complete, as far as anyone can tell")
    assert Store(tmp_path).load(STEP) is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"task": 3}', "\x00" * 100])
def test_a_record_that_is_none_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("kind", ["file", "folder", "outside"])
def test_a_result_holds_no_links(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "output"
    output.mkdir()
    target = {"file": output / "a", "folder": output, "outside": Path("/etc/passwd")}[kind]
    (output / "a").write_text("a")
    (output / "link").symlink_to(target)
    with pytest.raises(PokeflowError, match="only regular files"):
        list_files(output)


def test_files_are_listed_with_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("abc")
    (tmp_path / "a").write_text("")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert list_files(tmp_path) == (File("a", 0, empty), File("sub/b", 3, abc))


def _claim(root: Path, count: int) -> None:
    for _ in range(count):
        with Store(root).claim(STEP):
            file = root / "inside"
            # O_EXCL: were two inside at once, one of them would fail here.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            file.unlink()


def test_a_claim_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_claim, args=(tmp_path, 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [p.exitcode for p in processes] == [0] * 4
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


files = st.lists(st.builds(File, st.text(min_size=1), st.integers(0), st.text("0123456789abcdef", min_size=64)))


@given(files, st.randoms())
def test_content_is_named_by_what_is_there_not_by_the_order_it_was_found(found: list[File], random) -> None:
    unique = list({f.path: f for f in found}.values())
    shuffled = list(unique)
    random.shuffle(shuffled)
    assert content(unique) == content(shuffled)
    if unique:
        changed = [replace(unique[0], sha256="0" * 63 + "g"), *unique[1:]]
        assert content(changed) != content(unique)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False), min_size=1))
def test_a_digest_does_not_depend_on_the_order_of_keys(values: dict[str, object]) -> None:
    assert digest([values]) == digest([dict(reversed(values.items()))])
    assert digest([values]) != digest([{**values, "one more": 1}])
