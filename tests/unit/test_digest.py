"""Check digests: values that change them, values that do not, and those of existing stores."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow.digest import content, digest, digest_params, sha256
from pokeflow.types import File


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    note: str = field(default="", metadata={"digest": False})


@dataclass(frozen=True)
class Params:
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = (Inner(), Inner(0.2, "b"))
    named: dict[Any, Inner] = field(default_factory=lambda: {1: Inner(0.3, "c")})
    sizes: list[int] = field(default_factory=lambda: [1, 2])


def test_a_digest_is_sixteen_hex_digits_of_the_canonical_json() -> None:
    text = '["train",{"a":[1,null],"é":0.5}]'
    assert digest(["train", {"é": 0.5, "a": [1, None]}]) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert digest([]) == "4f53cda18c2baa0c"


def test_dataclass_and_equal_mapping_have_one_digest() -> None:
    assert digest([Inner(0.1, "x")]) == digest([{"note": "x", "lr": 0.1}])


@pytest.mark.parametrize(
    ("one", "other"), [([1], ["1"]), ([[1], 2], [[1, 2]]), ([None], [0]), ([{"a": 1}], [{"a": 2}])]
)
def test_other_values_have_another_digest(one: list[Any], other: list[Any]) -> None:
    assert digest(one) != digest(other)


def test_fields_that_decide_nothing_are_left_out_at_any_depth() -> None:
    assert digest_params(Params()) == {
        "inner": {"lr": 0.1},
        "many": [{"lr": 0.1}, {"lr": 0.2}],
        "named": {"1": {"lr": 0.3}},
        "sizes": [1, 2],
    }


def test_dataclass_type_is_an_ordinary_value() -> None:
    assert digest_params(Inner) is Inner


def test_content_depends_on_paths_and_checksums() -> None:
    files = [File("a", 1, "aa"), File("b", 1, "bb")]
    assert content(files) == digest([["a", "aa"], ["b", "bb"]])
    assert content(files) == content(files[::-1])
    assert content([File("a", 1, "aa")]) != content([File("c", 1, "aa")])
    assert content([File("a", 1, "aa")]) != content([File("a", 1, "cc")])
    assert content([File("a", 1, "bb"), File("b", 1, "aa")]) != content(files)
    assert content([File("a", 2, "aa"), File("b", 2, "bb")]) == content(files)


def test_a_checksum_is_that_of_every_byte(tmp_path: Path) -> None:
    data = b"0123456789" * 300_000
    (tmp_path / "file").write_bytes(data)
    assert sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False), min_size=1))
def test_a_digest_does_not_depend_on_the_order_of_keys(values: dict[str, object]) -> None:
    assert digest([values]) == digest([dict(reversed(values.items()))])
    assert digest([values]) != digest([{**values, "one more": 1}])


files = st.lists(st.builds(File, st.text(min_size=1), st.integers(0), st.text("0123456789abcdef", min_size=64)))


@given(files, st.randoms())
def test_content_does_not_depend_on_the_order_of_files(listed: list[File], random: Any) -> None:
    unique = list({f.path: f for f in listed}.values())
    shuffled = list(unique)
    random.shuffle(shuffled)
    assert content(unique) == content(shuffled)
