"""Check task paths, and failures that are passed on as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow.errors import Failure, PokeflowError, UnavailableError
from pokeflow.types import split_task_path, task_path, task_prefix

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(names, names, names, st.sampled_from(["", "record.json", "telemetry/run.yaml"]))
def test_task_path_is_split_from_the_paths_of_its_files(stage: str, model: str, digest: str, file: str) -> None:
    path = task_path(stage, model, digest)
    assert split_task_path(f"{path}/{file}") == (path, file)
    assert split_task_path(path) == (path, "")
    assert path.startswith(task_prefix(stage, model))
    assert path.startswith(task_prefix(stage))


@pytest.mark.parametrize("path", ["", "tasks", "tasks/train/m", "tasks/train//d", "work/train/m/d", "/tasks/train/m/d"])
def test_path_outside_a_task_is_not_split(path: str) -> None:
    assert split_task_path(path) is None


@given(st.text(), st.booleans())
def test_failure_survives_a_round_trip(message: str, unavailable: bool) -> None:
    failure = Failure(message, unavailable)
    assert Failure.loads(failure.dumps()) == failure


@given(st.text(min_size=1), st.booleans(), st.integers(60, 200))
def test_shortened_failure_is_still_readable(message: str, unavailable: bool, limit: int) -> None:
    text = Failure(message * 50, unavailable).dumps(limit)
    assert len(text) <= limit
    assert Failure.loads(text).unavailable == unavailable
    assert (message * 50).startswith(Failure.loads(text).message.removesuffix("…")[:10])


@pytest.mark.parametrize("text", ["the image lacks x", "unavailable: no", "{", "[]", "3", '{"error": "e"}'])
def test_any_other_text_is_the_message_of_a_failure(text: str) -> None:
    assert Failure.loads(text) == Failure(text)


def test_failure_becomes_the_original_exception() -> None:
    assert isinstance(Failure("no compiler", unavailable=True).error(), UnavailableError)
    error = Failure("disk full").error("job x: ")
    assert type(error) is PokeflowError
    assert str(error) == "job x: disk full"
