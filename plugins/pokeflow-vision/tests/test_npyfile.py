"""Test that .npy files round-trip, and that anything else is refused without running code or crashing."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pokeflow_vision import npyfile

ANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SQUARES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def header(text: bytes, data: bytes = b"") -> bytes:
    """Return an .npy file of version 1 with this header."""
    padded = text.ljust(117) + b"\n"
    return npyfile.MAGIC + b"\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


def shape(text: str) -> bytes:
    return header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {text}, }}".encode(), bytes(64))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("it-was-run"),)


@pytest.mark.parametrize("mapped", [False, True])
@ANY
@given(array=arrays.arrays(st.sampled_from(["u1", "<f4", ">i2"]), arrays.array_shapes(max_dims=4, max_side=5)))
def test_array_round_trips(tmp_path: Path, array: np.ndarray, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(npyfile.read(tmp_path / "a.npy", memory_map=mapped), array)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 an archive that is none",
        pickle.dumps(Code()),
        npyfile.MAGIC,
        npyfile.MAGIC + b"\x09\x00",
        header(b"{'descr': (((((((("),
        header(b"[" * 100),
        header(b"__import__('os').system('touch it-was-run')"),
        header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([Code()])),
        shape("(-1, 4, 4, 3)"),
        shape("(1000000000000, 4, 4, 3)"),
        shape("(10**30,)"),
        shape("'four'"),
    ],
)
def test_invalid_npy_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, mapped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        npyfile.read(tmp_path / "a.npy", memory_map=mapped)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]


def test_npz_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", squares=SQUARES)
    with pytest.raises(ValueError, match=r"not an \.npy"):
        npyfile.read(tmp_path / "a.npz")


def test_missing_file_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        npyfile.read(tmp_path / "a.npy")


@ANY
@given(at=st.integers(0, 127 + SQUARES.size), byte=st.integers(0, 255), end=st.integers(0, 128 + SQUARES.size))
def test_damaged_file_is_an_array_or_refused(tmp_path: Path, at: int, byte: int, end: int) -> None:
    np.save(tmp_path / "a.npy", SQUARES)
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[at] = byte
    (tmp_path / "a.npy").write_bytes(content[:end])
    try:
        array = npyfile.read(tmp_path / "a.npy")
    except ValueError:
        return
    assert isinstance(array, np.ndarray)
    assert array.dtype != object
