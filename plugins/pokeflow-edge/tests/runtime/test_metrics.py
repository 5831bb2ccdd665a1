"""Metrics of the service."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_edge.runtime import metrics
from pokeflow_edge.runtime.metrics import Tally, percentile


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 100))
def test_percentile_is_the_nearest_rank_value(values, percent):
    result = percentile(sorted(values), percent)
    assert result in values
    assert sum(value <= result for value in values) * 100 >= percent * len(values)
    below = [value for value in values if value < result]
    assert len(below) * 100 < percent * len(values)


def test_percentile_50_is_the_median():
    assert percentile([1.0, 2.0, 9.0], 50) == statistics.median([1.0, 2.0, 9.0])


def test_only_the_latest_answers_are_counted(monkeypatch):
    tally = Tally()
    for value in range(metrics.LAST + 500):
        tally.took({"network": float(value)})
    snapshot = tally.to_dict()["milliseconds"]["network"]
    assert snapshot["count"] == metrics.LAST
    assert snapshot["p50"] == 500 + metrics.LAST / 2 - 1


@pytest.mark.parametrize("content", [None, "", "warm"])
def test_unavailable_machine_metrics_are_null_with_a_reason(content, monkeypatch, tmp_path):
    for name in ("MEMORY", "TEMPERATURE"):
        file = tmp_path / name
        if content is not None:
            file.write_text(content, encoding="ascii")
        monkeypatch.setattr(metrics, name, file)
    snapshot = Tally().to_dict()
    for name in ("rss_bytes", "peak_rss_bytes", "temperature_c"):
        assert snapshot[name] is None
        assert str(tmp_path) in snapshot["reasons"][name]


def test_memory_is_in_bytes_and_temperature_in_degrees(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n", encoding="ascii")
    (tmp_path / "temp").write_text("48312\n", encoding="ascii")
    monkeypatch.setattr(metrics, "MEMORY", tmp_path / "status")
    monkeypatch.setattr(metrics, "TEMPERATURE", tmp_path / "temp")
    snapshot = Tally().to_dict()
    assert (snapshot["rss_bytes"], snapshot["peak_rss_bytes"], snapshot["temperature_c"]) == (
        1_048_576,
        2_097_152,
        48.312,
    )
    assert set(snapshot["reasons"]) == {"milliseconds"}
