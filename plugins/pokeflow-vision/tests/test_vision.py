"""What the image plugins share: one preprocessing spec, the data set folder, the recognition protocol."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from pokeflow import PokeflowError
from pokeflow_vision import dataset, preprocessing, retrieval
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing


def small_dataset(artworks: tuple[str, ...] = ("a", "b", "b", "c")) -> Dataset:
    rng = np.random.default_rng(0)
    cards = tuple(Card(f"c{i}", f"name {i}", "set", str(i), art, "test") for i, art in enumerate(artworks))
    queries = tuple(Query(card.card_id, "test", 0) for card in cards)
    images = rng.integers(0, 256, (len(cards), 12, 9, 3), dtype=np.uint8)
    return Dataset({"queries": "views", "name": "x"}, Preprocessing(8), cards, images, queries, images.copy())


def test_the_hash_names_the_values() -> None:
    assert Preprocessing().hash == Preprocessing().hash
    others = [Preprocessing(96), Preprocessing(mean=(0.5, 0.5, 0.5)), Preprocessing(std=(0.5, 0.5, 0.5))]
    assert len({Preprocessing().hash, *(o.hash for o in others)}) == 4
    # YAML may say 0 for 0.0.
    assert Preprocessing(mean=(0, 0, 0)).hash == Preprocessing(mean=(0.0, 0.0, 0.0)).hash


def test_the_spec_is_read_back_and_an_edited_one_refused(tmp_path: Path) -> None:
    spec = Preprocessing(96)
    spec.write(tmp_path)
    assert preprocessing.read(tmp_path) == spec
    raw = json.loads((tmp_path / "preprocessing.json").read_text())
    (tmp_path / "preprocessing.json").write_text(json.dumps({**raw, "size": 97}))
    with pytest.raises(PokeflowError, match="edited or damaged"):
        preprocessing.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"size": "x"}', "null", '{"size": 1, "mean": [1], "std": [1], "hash": 1}'])
def test_what_is_no_spec_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessing.json").write_text(text)
    with pytest.raises(PokeflowError, match="cannot read the preprocessing spec"):
        preprocessing.read(tmp_path)


def test_two_sides_that_differ_do_not_go_on() -> None:
    preprocessing.require_same(Preprocessing(), Preprocessing(), "x")
    with pytest.raises(PokeflowError, match=r"x: preprocessing .* differs"):
        preprocessing.require_same(Preprocessing(), Preprocessing(mean=(0.0, 0.0, 0.0)), "x")


def test_normalising_is_the_formula() -> None:
    spec = Preprocessing(2, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    squares = np.full((1, 2, 2, 3), 255, np.uint8)
    assert preprocessing.normalize(squares, spec)[0, :, 0, 0] == pytest.approx([1.0, 3.0, 1.0])
    assert preprocessing.normalize(squares, spec).shape == (1, 3, 2, 2)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_picture_becomes_a_square(image: np.ndarray) -> None:
    square = preprocessing.to_square([image], Preprocessing(8))
    assert square.shape == (1, 8, 8, 3)
    assert square.min() >= image.min()
    assert square.max() <= image.max()


def test_a_picture_is_read_upright_and_as_rgb(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "x.png", exif=exif)
    assert preprocessing.load_image(tmp_path / "x.png").shape == (4, 2, 3)


FORMATS = [
    *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
    *((name, "RGB") for name in ("WEBP", "TIFF", "MPO", "BMP", "GIF")),
]


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize(("name", "mode"), FORMATS)
def test_a_picture_of_any_format_is_what_pillows_copies_of_it_are(name: str, mode: str, turned: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)
    image, held = Image.fromarray(noise).convert(mode), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = turned
    image.save(held, name, **({} if name in ("BMP", "GIF") else {"exif": exif}))
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(held.getvalue()))).convert("RGB")
    found = preprocessing.decode(io.BytesIO(held.getvalue()), "x", preprocessing.FORMATS, 1000)
    assert np.array_equal(found, np.asarray(wanted))
    square = preprocessing.decode_pillow(io.BytesIO(held.getvalue()), "x", preprocessing.FORMATS, 1000)
    spec = Preprocessing(8)
    assert np.array_equal(preprocessing.to_square([square], spec), preprocessing.to_square([found], spec))


def hostile(kind: str, file: Path, monkeypatch) -> None:
    if kind == "empty":
        file.write_bytes(b"")
    elif kind == "text":
        file.write_text("not a picture")
    elif kind == "folder":
        file.mkdir()
    elif kind == "cut":
        Image.effect_noise((64, 64), 50).save(file, "JPEG")
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "bomb":
        Image.new("L", (400, 400)).save(file, "PNG")
        monkeypatch.setattr(preprocessing, "MAX_PIXELS", 100_000)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "cut", "bomb"])
def test_a_hostile_picture_is_refused_with_a_sentence(tmp_path: Path, kind: str, monkeypatch) -> None:
    file = tmp_path / "x.jpg"
    hostile(kind, file, monkeypatch)
    with pytest.raises(PokeflowError, match=r"x\.jpg: "):
        preprocessing.load_image(file)


@pytest.mark.parametrize(
    ("total", "train", "val", "test"), [(17_592, 14_073, 2_638, 881), (1_407, 1_125, 211, 71), (20, 16, 3, 1)]
)
def test_splits_are_eighty_fifteen_five(total: int, train: int, val: int, test: int) -> None:
    assert dataset.split_counts(total) == {"train": train, "val": val, "test": test}


@given(st.integers(0, 100_000))
def test_no_card_is_lost_in_splitting(total: int) -> None:
    assert sum(dataset.split_counts(total).values()) == total


def test_a_data_set_is_read_back(tmp_path: Path) -> None:
    data = small_dataset()
    dataset.write(tmp_path, data, {"unreadable": []})
    again = dataset.read(tmp_path)
    assert (again.cards, again.queries, again.preprocessing) == (data.cards, data.queries, data.preprocessing)
    np.testing.assert_array_equal(again.references, data.references)


def break_folder(folder: Path, kind: str) -> None:
    if kind == "pickle":
        np.save(folder / "references.npy", np.array([{"x": 1}] * 4, dtype=object), allow_pickle=True)
    elif kind == "short":
        np.save(folder / "queries.npy", np.zeros((1, 2, 2, 3), np.uint8))
    elif kind == "no csv":
        (folder / "cards.csv").unlink()
    elif kind == "other columns":
        (folder / "cards.csv").write_text("id,name\n1,x\n")


@pytest.mark.parametrize("kind", ["pickle", "short", "no csv", "other columns"])
def test_a_data_set_whose_parts_do_not_fit_is_refused(tmp_path: Path, kind: str) -> None:
    dataset.write(tmp_path, small_dataset(), {})
    break_folder(tmp_path, kind)
    with pytest.raises(PokeflowError):
        dataset.read(tmp_path)


vectors = hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(4)), elements=st.floats(-5, 5, width=32))


@given(vectors, vectors)
def test_search_is_exact_and_ordered(queries: np.ndarray, gallery: np.ndarray) -> None:
    indices, scores = retrieval.nearest(queries, gallery, 5, block=3)
    similarity = retrieval.normalize_rows(queries) @ retrieval.normalize_rows(gallery).T
    np.testing.assert_allclose(scores[:, 0], similarity.max(axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    assert all(len(set(row)) == len(row) for row in indices)


def test_accuracy_counts_the_exact_printing_and_the_artwork_apart() -> None:
    data = small_dataset()
    perfect = np.array([[0, 1], [1, 0], [2, 0], [3, 0]])
    assert retrieval.accuracy(perfect, data, range(4)) == {
        "top1_accuracy": 1.0,
        "top5_accuracy": 1.0,
        "artwork_top1_accuracy": 1.0,
    }
    twins_swapped = np.array([[0, 1], [2, 1], [1, 3], [0, 1]])
    assert retrieval.accuracy(twins_swapped, data, range(4)) == {
        "top1_accuracy": 0.25,
        "top5_accuracy": 0.5,
        "artwork_top1_accuracy": 0.75,
    }


def test_artwork_accuracy_is_unknown_where_twins_are() -> None:
    data = small_dataset(("", "", "", ""))
    assert retrieval.accuracy(np.array([[0], [1], [2], [3]]), data, range(4))["artwork_top1_accuracy"] is None


def test_a_format_that_starts_other_programs_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    Image.new("RGB", (4, 4)).save(file, "EPS")
    with pytest.raises(PokeflowError, match="not a readable image"):
        preprocessing.load_image(file)
