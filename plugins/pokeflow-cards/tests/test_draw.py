from dataclasses import replace

import numpy as np
import pytest

from pokeflow_cards import draw
from pokeflow_cards.draw import Face
from pokeflow_cards.random_streams import Purpose, generator

FACE = Face("Mirotor", "fire", 120, "DRW1", "004/060", 0, False, "none", (("Draw Two", 40, "Flip two coins"),))


def drawn(face: Face = FACE, height: int = 144, art: str = "a") -> np.ndarray:
    return draw.draw(face, generator(0, art, Purpose.ART), height)


@pytest.mark.parametrize(("height", "width"), [(336, 241), (144, 103), (24, 17)])
def test_card_has_its_proportions_at_any_size(height, width) -> None:
    card = drawn(height=height)
    assert card.shape == (height, width, 3)
    assert card.dtype == np.uint8


def test_drawing_is_reproducible() -> None:
    assert (drawn() == drawn()).all()


def changed(face: Face) -> np.ndarray:
    """Return where a card differs from the plain one, as shares of height and width."""
    y, x = np.nonzero((drawn(face) != drawn()).any(axis=-1))
    return np.stack([y / 144, x / 103])


def test_number_is_printed_at_the_foot() -> None:
    assert changed(replace(FACE, number="005/060"))[0].min() > 0.9


def test_name_is_printed_at_the_head() -> None:
    assert changed(replace(FACE, name="Plover"))[0].max() < 0.12


def test_art_fills_only_its_window() -> None:
    y, _ = np.nonzero((drawn(art="b") != drawn(art="a")).any(axis=-1))
    assert y.min() / 144 > 0.1
    assert y.max() / 144 < 0.52


@pytest.mark.parametrize("holo", [holo for holo in draw.HOLOS if holo != "none"])
def test_every_holo_pattern_is_visible(holo) -> None:
    assert changed(replace(FACE, holo=holo)).shape[1] > 100


def test_full_art_covers_the_card() -> None:
    assert changed(replace(FACE, full_art=True))[0].max() > 0.9


def test_drawing_needs_no_font_file(monkeypatch) -> None:
    real = draw.ImageFont.truetype

    def only_built_in(font, *more, **options):
        assert hasattr(font, "read"), f"the file {font} was asked for"
        return real(font, *more, **options)

    draw._font.cache_clear()
    monkeypatch.setattr(draw.ImageFont, "truetype", only_built_in)
    assert drawn().any()
