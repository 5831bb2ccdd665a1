from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pokeflow import PokeflowError, Task
from pokeflow_photos import folder, pokeflow_backends
from pokeflow_photos.params import PrepareParams
from pokeflow_vision import dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root, rng = tmp_path / "photos", np.random.default_rng(0)
    for item in range(25):
        (root / f"item-{item}").mkdir(parents=True)
        for view in range(3):
            pixels = rng.integers(0, 256, (40, 30, 3), np.uint8)
            Image.fromarray(pixels).save(root / f"item-{item}" / f"{view}.png")
    return root


def prepare(root: Path, tmp_path: Path, name: str) -> Path:
    (backend,) = pokeflow_backends()
    work, output = tmp_path / f"{name}-work", tmp_path / name
    work.mkdir()
    output.mkdir()
    backend(Task("prepare", "photos", "data", "", "data", "", PrepareParams(str(root)), (), work, output))
    return output


def test_every_split_has_items_and_queries(photos: Path, tmp_path: Path) -> None:
    data = dataset.read(prepare(photos, tmp_path, "output"))
    assert all(data.cards_of(split) for split in dataset.SPLITS)
    assert {query.split for query in data.queries} == {"val", "test", dataset.CALIBRATION}
    assert len(data.queries) == 2 * 25


def test_the_same_photographs_give_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    first, again = prepare(photos, tmp_path, "first"), prepare(photos, tmp_path, "again")
    for file in first.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()


def test_a_changed_photograph_changes_the_fingerprint(photos: Path) -> None:
    before = folder.fingerprint(PrepareParams(str(photos)))
    Image.new("RGB", (30, 40)).save(photos / "item-7" / "1.png")
    assert folder.fingerprint(PrepareParams(str(photos))) != before


def test_an_unreadable_photograph_is_named(photos: Path, tmp_path: Path) -> None:
    (photos / "item-3" / "2.png").write_bytes(b"not a picture")
    with pytest.raises(PokeflowError, match=r"item-3/2\.png"):
        prepare(photos, tmp_path, "output")


def test_faults_are_reported_before_anything_runs(photos: Path) -> None:
    (photos / "item-3" / "2.png").unlink()
    (photos / "item-3" / "1.png").unlink()
    assert [message for _, message in folder.check(PrepareParams(str(photos)))] == [
        "item-3: a reference and at least one other photograph are needed"
    ]
    assert list(folder.check(PrepareParams("absent"))) == [("root", "no such folder: absent")]
