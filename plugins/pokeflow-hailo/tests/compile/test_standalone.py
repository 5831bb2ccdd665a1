"""The file that runs in the compiler's interpreter: old syntax, few imports, plain answers."""

import ast
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.compile import standalone

SOURCE = Path(standalone.__file__).read_text()


def test_script_parses_with_python_3_10():
    ast.parse(SOURCE, feature_version=(3, 10))


def test_script_imports_only_numpy_and_the_compiler():
    tree = ast.walk(ast.parse(SOURCE))
    names = {
        name.partition(".")[0]
        for node in tree
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "hailo_sdk_client"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(anything)
def test_arbitrary_profile_becomes_json(value):
    json.dumps(standalone.plain(value), allow_nan=False)


def test_numpy_values_and_foreign_objects_become_plain():
    deep = []
    for _ in range(50):
        deep = [deep]
    plain_values = standalone.plain(
        {"a": np.float32(1.5), "b": np.arange(3), "c": object(), "d": math.nan, 7: (True, None), "deep": deep}
    )
    assert plain_values["a"] == 1.5
    assert plain_values["b"] == [0, 1, 2]
    assert plain_values["c"] == "<object>"
    assert plain_values["d"] is None
    assert plain_values["7"] == [True, None]
    assert json.dumps(plain_values["deep"]).count("[") == standalone.MAX_DEPTH - 1
    assert len(standalone.plain("x" * 10_000)) == standalone.MAX_TEXT
    assert len(standalone.plain([0] * 30_000)) == standalone.MAX_ITEMS


@pytest.mark.parametrize("shape", [(4, 3), (4, 1, 1, 3), (4, 3, 1, 1)])
@pytest.mark.parametrize("listed", [False, True])
def test_embeddings_are_read_with_or_without_height_and_width(shape, listed):
    array = np.arange(12, dtype=np.float64).reshape(shape)
    rows = standalone.rows([array] if listed else array, 4, 3)
    assert (rows.dtype, rows.tolist()) == (np.float32, np.arange(12.0).reshape(4, 3).tolist())


@pytest.mark.parametrize("array", [np.zeros((4, 2)), np.zeros((3, 3)), np.zeros(0)])
def test_embeddings_of_another_size_are_refused(array):
    with pytest.raises(ValueError, match="for 4 pictures and embeddings of 3"):
        standalone.rows(array, 4, 3)
