"""Check keys: none leaves its folder or prefix, and each is listed as it was written."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import ABSENT, ObjectStore, require_key
from pokeflow.objects._folder import OWN, Folder
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.objects_support import keys


@pytest.fixture(params=["folder", "bucket", "prefix"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return Folder(tmp_path / "root")
    name = request.getfixturevalue("s3").name
    return Bucket(name, "some/prefix" if request.param == "prefix" else "")


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["..", ".", "", "a", "~", "-", "%2e%2e", "a b", "...", "+", "?x=y", "#", "&", "*", "é", "e\u0301"]
)
KEYS = st.lists(TEXT, min_size=1, max_size=5).map("/".join)


@pytest.mark.slow
@given(key=KEYS)
@settings(max_examples=2000, deadline=None)
def test_valid_key_stays_inside_its_folder(key: str) -> None:
    try:
        require_key(key)
    except PokeflowError:
        return
    parts = key.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert not re.search(r"[\x00-\x1f\x7f\\]", key)
    root = Path("/srv/folder")
    assert root in Path(f"/srv/folder/{key}").parents
    assert Path(f"/srv/folder/{key}").relative_to(root).parts == tuple(parts)


@pytest.mark.slow
@given(generated=st.lists(KEYS, min_size=1, max_size=6, unique=True))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_valid_keys_round_trip_and_stay_inside_their_prefix(objects: ObjectStore, generated: list[str]) -> None:
    """Leave out keys that are folders of other keys, which only buckets can hold."""
    written = [k for k in generated if _sound(k) and not any(other.startswith(f"{k}/") for other in generated)]
    folded = {part.casefold() for key in written for part in key.split("/")}
    assume(written and OWN not in folded and all(len(p.encode()) < 256 for p in folded))
    inside = objects.with_prefix(f"inside{_fresh()}")
    outside = keys(objects)
    for key in written:
        inside.write(key, key.encode(), match=ABSENT)
    assert keys(inside) == sorted(written)
    for key in written:
        assert inside.read(key)[0] == key.encode()
    prefix = inside.uri.rpartition("/")[2]
    assert [key for key in keys(objects) if not key.startswith(f"{prefix}/")] == [
        key for key in outside if not key.startswith(f"{prefix}/")
    ]


def _sound(key: str) -> bool:
    try:
        return bool(require_key(key))
    except PokeflowError:
        return False


def _numbers() -> Iterator[int]:
    n = 0
    while True:
        yield (n := n + 1)


_number = _numbers()


def _fresh() -> int:
    return next(_number)
