"""Provide a small folder of scans and tasks that prepare it."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pokeflow_cards as plugin
from pokeflow import Result, Task
from pokeflow.types import load_params
from pokeflow_cards.params import FolderParams, Queries
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing(size=32)
COLUMNS = ("card_id", "name", "set", "number", "artist")


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Folder:
    """A folder of scans to build step by step: images of coloured tiles, and a CSV that ``write`` writes."""

    def __init__(self, root: Path, cards: int) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        self.columns: tuple[str, ...] = COLUMNS
        self.rows: list[dict[str, str]] = []
        for i in range(cards):
            self.add(f"s-{i}", f"Name {i}", seed=i)
        self.write()

    def add(self, card_id: str, name: str, *, seed: int | None = None, **more: str) -> Path:
        self.rows.append({"card_id": card_id, "name": name, "set": "s", "number": str(len(self.rows)), **more})
        file = self.root / "images" / f"{card_id}.jpg"
        if seed is not None:
            picture(seed).save(file, quality=95)
        return file

    def write(self) -> None:
        with (self.root / "cards.csv").open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def params(self, **values: Any) -> FolderParams:
        values = {"queries": Queries(views=2, calibration=5), "preprocessing": SPEC} | values
        return FolderParams(str(self.root), **values)


def picture(seed: int, size: tuple[int, int] = (63, 88)) -> Image.Image:
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    return Image.fromarray(tiles).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "scans", 24)


@pytest.fixture
def make_picture() -> Callable[..., Image.Image]:
    return picture


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[Any], tuple[Path, Result]]:
    backends = {load_params(backend): backend for backend in plugin.pokeflow_backends()}
    runs = iter(range(100))

    def run(params: Any) -> tuple[Path, Result]:
        base, backend = tmp_path / f"run{next(runs)}", backends[type(params)]
        (base / "work").mkdir(parents=True)
        (base / "output").mkdir()
        task = Task("prepare", backend.name, "data", "1.0.0", "", "digest", params, (), base / "work", base / "output")
        return base / "output", backend(task)

    return run


@pytest.fixture
def real_cards() -> Path:
    default = Path(__file__).parents[3].parent / "shared" / "cards"
    root = Path(os.environ.get("POKEFLOW_TEST_CARDS", default))
    if not (root / "cards.csv").is_file():
        pytest.skip(f"no real cards in {root}; name a folder with POKEFLOW_TEST_CARDS")
    return root
