"""Check which parts of a module mutation testing changes."""

import pytest

from tests.mutation.operators import mutants_of


def changes(source: str) -> set[str]:
    return {mutant.after for mutant in mutants_of(source)}


@pytest.mark.parametrize(
    ("source", "mutant"),
    [
        ("lock.require_held()", "pass"),
        ("del found[key]", "pass"),
        ("self.lost = True", "pass"),
        ("count += 1", "pass"),
        ("if a and b: pass", "if a: pass"),
        ("if a and b: pass", "if b: pass"),
        ("x = a or b or c", "x = a or c"),
        ("x = [y for y in z if y.real]", "x = [y for y in z if True]"),
        ("write(key, match=etag)", "write(key, match=None)"),
        ("x = max(1, y)", "x = min(1, y)"),
        ("x = name.startswith('a')", "x = name.endswith('a')"),
        ("x = y < 1", "x = y <= 1"),
        ("x = y < 1", "x = y >= 1"),
        ("if held: pass", "if not held: pass"),
    ],
)
def test_a_change_of_meaning_is_a_mutant(source: str, mutant: str) -> None:
    assert mutant in changes(f"{source}\n")


@pytest.mark.parametrize("caught", ["OSError", "module.Error"])
def test_an_exception_is_no_longer_caught(caught: str) -> None:
    assert "except StopAsyncIteration:" in changes(f"try:\n    f()\nexcept {caught}:\n    x = y\n")


def test_each_of_several_exceptions_is_left_out_in_turn() -> None:
    variants = changes("try:\n    f()\nexcept (OSError, m.Error):\n    x = y\n")
    assert {"except (StopAsyncIteration, m.Error):", "except (OSError, StopAsyncIteration):"} <= variants


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "def f(a: int | None, *, b: str) -> int | None: return a",
        "x: int | None = y",
        "x = f'{sha256[:12]} is not it'",
        "@dataclass(frozen=True)\nclass A:\n    x: int",
        "log.info('done')",
        "x = 'a text'",
        "x = f.open(encoding='utf-8')",
    ],
)
def test_texts_and_annotations_are_left_alone(source: str) -> None:
    assert changes(f"{source}\n") <= {""}


def test_every_mutant_is_another_text_that_compiles() -> None:
    mutants = list(mutants_of("def f(x):\n    return x is None and not x < 2\n"))
    assert len({mutant.code for mutant in mutants}) == len(mutants) > 4
    for mutant in mutants:
        compile(mutant.code, "mutant", "exec")
