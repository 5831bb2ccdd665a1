import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pokeflow_torch.profiling import charts

number = st.floats(allow_nan=True, allow_infinity=True)
name = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60)


def drawn(text):
    """Parse a chart as XML, which fails if a name or number was not escaped, and return its root."""
    root = ElementTree.fromstring(f"<div>{text}</div>")
    for element in root.iter():
        for key in ("x", "y", "width", "height", "cx", "cy", "points"):
            assert "nan" not in element.get(key, "")
            assert "inf" not in element.get(key, "")
    return root


@given(st.lists(st.tuples(name, number), max_size=5), st.booleans())
def test_bars_take_any_name_and_number(values, logarithmic):
    drawn(charts.bars(values, "ms", logarithmic=logarithmic))


@given(st.dictionaries(name, st.lists(st.tuples(st.floats(-1e9, 1e9), number), max_size=5), max_size=3))
def test_lines_take_any_name_and_number(series):
    drawn(charts.lines(series, "s", "MB"))


@given(st.dictionaries(name, st.floats(0, 1), max_size=9))
def test_parts_take_any_name(shares):
    drawn(charts.parts(shares))


def test_bar_length_is_proportional_to_its_value():
    root = drawn(charts.bars([("a", 4.0), ("b", 1.0)], "ms"))
    widths = [float(rect.get("width")) for rect in root.iter("rect")]
    assert math.isclose(widths[0], 4 * widths[1], rel_tol=0.01)


def test_charts_without_data_state_that_nothing_was_measured():
    assert "Nothing was measured" in charts.lines({}, "s", "MB")
    assert "Nothing was measured" in charts.bars([("a", float("nan"))], "ms")
