"""The profile of a HEF: from its header, its compiler and a chip, each figure with its source, and none invented."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError, UnavailableError
from pokeflow_hailo.stages import profile

from ..outputs import PARSE_HEF

ESTIMATE = {
    "compiler": "3.33.0",
    "profile": {"stats": {"fps": 601.5, "layers": [{"macs": 1000}]}, "latency_data": {"total": 1.5}, "version": 3},
    "reason": None,
    "simulated": False,
    "source": "dfc_estimate",
}


@pytest.fixture
def profiled(chip_flow):
    """Return a function that profiles without hailortcli and returns the result and profiling_results.json."""

    def run(estimate=None, **params):
        task = chip_flow.profile(**params)
        if estimate is not None:
            text = estimate if isinstance(estimate, str) else json.dumps(estimate)
            (task.inputs[0].folder / "dfc_profile.json").write_text(text)
        result = profile.run(task)
        return result, json.loads((task.output / "profiling_results.json").read_text())

    return run


def test_hef_header_gives_chip_compiler_and_size(profiled):
    result, report = profiled()
    header = report["hef"]
    assert header["architecture"] == {"value": "hailo8l", "unit": "", "source": "hef_metadata", "how": "its header"}
    assert header["compiler_version"]["value"] == "3.33.0"
    assert header["size_mb"]["source"] == "file"
    assert result.metrics == {"size_mb": header["size_mb"]["value"]}
    assert "simulated" not in result.facts


def test_figures_without_device_and_tools_are_null_with_reason(profiled):
    _, report = profiled()
    assert report["hef"]["contexts"] == {
        "value": None,
        "unit": "",
        "source": "hef_metadata",
        "how": "hailortcli parse-hef",
        "reason": "hailortcli is not installed on this machine",
    }
    assert report["compiler"]["profile"]["reason"] == "the compiled model has no dfc_profile.json"
    assert (report["device"], report["about_device"]["reason"]) == (
        {},
        "no device is named (target.profile.params.device)",
    )


def test_contexts_and_streams_come_from_hailortcli(profiled, hailortcli):
    hailortcli(f"[ \"$1 $2\" = 'parse-hef model.hef' ] && cat <<'END'\n{PARSE_HEF}END\n")
    _, report = profiled()
    assert report["hef"]["contexts"]["value"] == 3
    assert report["hef"]["outputs"]["value"][0]["shape"] == [512]


def test_failed_hailortcli_leaves_null_and_its_output(profiled, hailortcli):
    hailortcli("echo no such command >&2; exit 109")
    _, report = profiled()
    assert report["hef"]["contexts"]["value"] is None
    assert "exit 109: no such command" in report["hef"]["contexts"]["reason"]


def test_compilers_figures_name_it_as_source(profiled):
    _, report = profiled(ESTIMATE)
    assert {name: figure["value"] for name, figure in report["compiler"].items()} == {
        "stats.fps": 601.5,
        "stats.layers.0.macs": 1000,
        "latency_data.total": 1.5,
    }
    assert {figure["source"] for figure in report["compiler"].values()} == {"dfc_estimate"}


def test_failed_profiler_leaves_null_and_its_reason(profiled):
    _, report = profiled({**ESTIMATE, "profile": None, "reason": "the profiler failed"})
    assert report["compiler"]["profile"]["value"] is None
    assert report["compiler"]["profile"]["reason"] == "the profiler failed"


def test_estimate_of_a_double_is_marked_as_simulated(profiled):
    result, report = profiled({**ESTIMATE, "simulated": True})
    assert result.facts["simulated"] is True
    assert all(figure["simulated"] for figure in report["compiler"].values())


def test_named_device_is_measured(profiled):
    result, report = profiled(ESTIMATE, device="local")
    assert result.facts["simulated"] is True
    assert result.metrics["latency_p50_ms"] > 0
    assert result.reasons["power_w"].startswith("the board has no sensor")
    assert report["about_device"]["architecture"] == "hailo8l"
    assert result.facts["device"].startswith("Hailo-8L, firmware 4.23.0")
    assert (result.facts["framework"], result.facts["runs"]) == ("HailoRT 4.23.0", 24)
    for figure in report["device"].values():
        assert (figure["source"], figure["simulated"]) == ("device", True)


def test_missing_chip_is_unavailable_and_keeps_the_rest(chip_flow):
    chip_flow.environment["HAILO_DOUBLE"] = ""
    task = chip_flow.profile(device="local")
    with pytest.raises(UnavailableError, match="no Hailo chip"):
        profile.run(task)
    report = json.loads((task.output / "profiling_results.json").read_text())
    assert (report["hef"]["architecture"]["value"], report["device"]) == ("hailo8l", {})


@pytest.mark.parametrize(
    "estimate",
    ["", "{", "null", "[]", "{}", '{"simulated": false}', json.dumps({**ESTIMATE, "profile": [1]}), "[" * 100_000],
)
def test_a_damaged_compilers_profile_is_refused(profiled, estimate):
    with pytest.raises(PokeflowError, match=r"dfc_profile\.json: not a compiler's profile"):
        profiled(estimate)


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_only_numbers_are_figures(value):
    for _, number in profile._numbers({"stats": value}):
        assert isinstance(number, int)
        assert not isinstance(number, bool)
