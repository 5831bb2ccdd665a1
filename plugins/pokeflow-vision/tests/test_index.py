"""Test that the gallery's index round-trips and that a malicious one is refused."""

import dataclasses
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_vision import index, retrieval
from pokeflow_vision.dataset import Card, Dataset
from pokeflow_vision.preprocessing import Preprocessing


def make_data() -> Dataset:
    cards = tuple(Card(f"set-{i}", f"Pikachü {i}", "set", str(i), "", "test") for i in range(40))
    return Dataset({}, Preprocessing(16), cards, np.zeros((40, 16, 16, 3), np.uint8), (), np.zeros((0, 16, 16, 3)))


@pytest.fixture
def written(tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    index.write(tmp_path, index.build(make_data(), embeddings))
    return tmp_path


def test_index_round_trips(written):
    loaded = index.read(written)
    assert loaded.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(loaded.embeddings, axis=1), 1, atol=1e-6)
    assert loaded.card(3) == {"card_id": "set-3", "name": "Pikachü 3", "set": "set", "number": "3"}
    assert loaded.preprocessing == make_data().preprocessing.hash


def test_index_has_no_pickle_and_is_reproducible(written, tmp_path):
    before = (written / "index.npz").read_bytes()
    index.write(tmp_path, index.read(written))
    assert (tmp_path / "index.npz").read_bytes() == before
    with np.load(written / "index.npz", allow_pickle=False) as parts:
        assert {name: parts[name].dtype.kind for name in parts.files} == {
            "embeddings": "f", "card_ids": "U", "names": "U", "sets": "U", "numbers": "U", "preprocessing": "U"
        }  # fmt: skip


class Bomb:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self):
        return print, ("the pickle ran",)


def spoilt(written, **parts):
    with np.load(written / "index.npz") as file:
        np.savez(written / "index.npz", **{**{name: file[name] for name in file.files}, **parts})


def test_pickled_objects_are_refused_and_not_run(written, capsys):
    spoilt(written, names=np.asarray([Bomb()] * 40, object))
    with pytest.raises(PokeflowError, match="not a readable index"):
        index.read(written)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "parts",
    [
        {"embeddings": np.zeros((40, 8))},
        {"embeddings": np.zeros(40, np.float32)},
        {"embeddings": np.zeros((39, 8), np.float32)},
        {"embeddings": np.full((40, 8), np.nan, np.float32)},
        {"card_ids": np.arange(40)},
        {"sets": np.asarray(["one"])},
        {"embeddings": np.concatenate([np.full((1, 8), np.inf), np.zeros((39, 8))]).astype(np.float32)},
        {"preprocessing": np.zeros(3, "V2")},
        {"preprocessing": np.asarray(["one"])},
    ],
)
def test_inconsistent_arrays_are_refused(written, parts):
    spoilt(written, **parts)
    with pytest.raises(PokeflowError, match=r"index.npz: not a readable index"):
        index.read(written)


def test_empty_index_is_refused(written):
    none = np.asarray([], np.str_)
    spoilt(written, embeddings=np.zeros((0, 8), np.float32), card_ids=none, names=none, sets=none, numbers=none)
    with pytest.raises(PokeflowError, match="missing"):
        index.read(written)


def test_compressed_index_is_refused_before_unpacking(written):
    np.savez_compressed(written / "index.npz", embeddings=np.zeros((10_000, 1000), np.float32))
    with pytest.raises(index.UnreadableIndexError, match=r"not a readable index \(it is compressed\)"):
        index.read(written)


def test_single_compressed_part_is_refused(written):
    with zipfile.ZipFile(written / "index.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(1000))
    with pytest.raises(index.UnreadableIndexError, match=r"\(it is compressed\)"):
        index.read(written)


def test_missing_or_invalid_array_is_named(written):
    with np.load(written / "index.npz") as file:
        parts = {name: file[name] for name in file.files if name != "names"}
    np.savez(written / "index.npz", **parts)
    with pytest.raises(index.UnreadableIndexError, match=r"\(it has no array .*names") as raised:
        index.read(written)
    assert raised.value.why.startswith("it has no array")
    with zipfile.ZipFile(written / "index.npz", "a") as archive:
        archive.writestr("names", b"no array")
    with pytest.raises(index.UnreadableIndexError, match=r"\(names is not an array\)"):
        index.read(written)


def test_labels_are_csv_in_gallery_order():
    cards = [Card("a-1", 'Mr. "Mime", the 2nd', "base", "1/2", "", "test"), Card("b-2", "A\r\nB", "s", "2", "", "val")]
    assert index.labels(cards) == (b'card_id,name,set,number\na-1,"Mr. ""Mime"", the 2nd",base,1/2\nb-2,"A\r\nB",s,2\n')


def test_header_larger_than_its_file_is_refused(written):
    with zipfile.ZipFile(written / "index.npz", "w") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 99999999), }".ljust(117) + b"\n"
        archive.writestr("embeddings.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(PokeflowError):
        index.read(written)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': (((((((((",
        b"[" * 200,
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**30, 8), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': ('a', 8), }",
        b"{'descr': 'no such', 'fortran_order': False, 'shape': (1, 8), }",
    ],
)
def test_invalid_header_is_refused(written, header):
    text = header.ljust(246) + b"\n"
    with zipfile.ZipFile(written / "index.npz", "w") as archive:
        archive.writestr("embeddings.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64))
    with pytest.raises(PokeflowError, match="not a readable index"):
        index.read(written)


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04" + b"\0" * 40])
def test_file_that_is_no_index_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "index.npz").write_bytes(content)
    with pytest.raises(PokeflowError, match="Run the task that wrote it again"):
        index.read(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_index_is_read_or_refused(written, data):
    file = written / "index.npz"
    good = file.read_bytes()
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))
    try:
        loaded = index.read(written)
        assert len(loaded.embeddings) == len(loaded.card_ids)
    except PokeflowError:
        pass
    finally:
        file.write_bytes(good)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40))
def test_search_equals_stable_sort_by_cosine(seed, cards, k):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that there are ties.
    gallery = retrieval.normalize_rows(rng.integers(0, 2, (cards, 3)))
    query = retrieval.normalize_rows(rng.integers(0, 2, (1, 3)))
    rows, scores = index.search(gallery, query[0], k)
    expected = np.argsort(-(gallery @ query[0]), kind="stable")[:k]
    np.testing.assert_array_equal(rows, expected)
    assert (np.diff(scores) <= 0).all()


def test_search_agrees_with_nearest():
    rng = np.random.default_rng(1)
    gallery, queries = rng.normal(size=(200, 16)), rng.normal(size=(20, 16))
    nearest, scores = retrieval.nearest(queries, gallery, 5)
    gallery, queries = retrieval.normalize_rows(gallery), retrieval.normalize_rows(queries)
    for query, rows, cosines in zip(queries, nearest, scores, strict=True):
        mine = index.search(gallery, query, 5)
        np.testing.assert_array_equal(mine[0], rows)
        np.testing.assert_allclose(mine[1], cosines, atol=1e-6)


def test_best_of_several_views_counts():
    rng = np.random.default_rng(2)
    gallery = retrieval.normalize_rows(rng.normal(size=(50, 8)))
    queries = retrieval.normalize_rows(rng.normal(size=(3, 8)))
    rows, scores = index.search(gallery, queries, 5)
    best = (gallery @ queries.T).max(1)
    np.testing.assert_array_equal(rows, np.argsort(-best, kind="stable")[:5])
    np.testing.assert_allclose(scores, best[rows])


def test_proportions_and_threshold_are_kept_and_may_be_missing(written):
    assert (index.read(written).aspect, index.read(written).threshold) == (None, None)
    index.write(written, dataclasses.replace(index.read(written), aspect=0.75, threshold=-0.25))
    assert (index.read(written).aspect, index.read(written).threshold) == (0.75, -0.25)


@pytest.mark.parametrize(
    "parts",
    [
        {"aspect": np.asarray(0.0)},
        {"aspect": np.asarray(1.5)},
        {"aspect": np.asarray(float("nan"))},
        {"threshold": np.asarray([0.5])},
        {"threshold": np.asarray("x")},
        {"threshold": np.asarray(-1.5)},
    ],
)
def test_number_that_makes_no_sense_is_refused(written, parts):
    spoilt(written, **parts)
    with pytest.raises(PokeflowError, match="is not a number between"):
        index.read(written)


def test_index_keeps_its_preprocessing_hash(written):
    other = dataclasses.replace(index.read(written), preprocessing="other")
    index.write(written, other)
    assert index.read(written).preprocessing == "other"
