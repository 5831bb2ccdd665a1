from types import SimpleNamespace

import pytest

from pokeflow import PokeflowError
from pokeflow_cards import scans
from pokeflow_vision.preprocessing import Preprocessing


@pytest.mark.parametrize(("size", "shape"), [(224, (336, 241)), (96, (144, 103)), (16, (24, 17))])
def test_picture_height_is_one_and_a_half_input_sizes(size, shape) -> None:
    assert scans.shape(Preprocessing(size)) == shape


def test_array_larger_than_the_free_space_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(scans.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert scans.array(tmp_path / "small.npy", 10, Preprocessing(224)).shape == (10, 336, 241, 3)
    with pytest.raises(PokeflowError, match=r"8\.5 GB are needed for 17592 pictures, 1\.0 GB are free"):
        scans.array(tmp_path / "large.npy", 17_592, Preprocessing(224))
