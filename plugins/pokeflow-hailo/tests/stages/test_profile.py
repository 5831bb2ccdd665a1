"""The profile of a HEF: from its header, its compiler and a chip, each figure with its source, and none made up."""

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
    """profiled(estimate, **params) → result and profiling_results.json, on a machine without hailortcli."""

    def run(estimate=None, **params):
        task = chip_flow.profile(**params)
        if estimate is not None:
            text = estimate if isinstance(estimate, str) else json.dumps(estimate)
            (task.inputs[0].folder / "dfc_profile.json").write_text(text)
        result = profile.run(task)
        return result, json.loads((task.output / "profiling_results.json").read_text())

    return run


def test_the_hef_tells_its_chip_its_compiler_and_its_size(profiled):
    result, told = profiled()
    header = told["hef"]
    assert header["architecture"] == {"value": "hailo8l", "unit": "", "source": "hef_metadata", "how": "its header"}
    assert header["compiler_version"]["value"] == "3.33.0"
    assert header["size_mb"]["source"] == "file"
    assert result.metrics == {"size_mb": header["size_mb"]["value"]}
    assert "simulated" not in result.facts


def test_without_device_and_tools_the_rest_is_null_with_a_reason(profiled):
    _, told = profiled()
    assert told["hef"]["contexts"] == {
        "value": None,
        "unit": "",
        "source": "hef_metadata",
        "how": "hailortcli parse-hef",
        "reason": "hailortcli is not installed on this machine",
    }
    assert told["compiler"]["profile"]["reason"] == "the compiled model has no dfc_profile.json"
    assert (told["device"], told["about_device"]["reason"]) == ({}, "no device is named (target.profile.params.device)")


def test_hailortcli_tells_contexts_and_streams(profiled, hailortcli):
    hailortcli(f"[ \"$1 $2\" = 'parse-hef model.hef' ] && cat <<'END'\n{PARSE_HEF}END\n")
    _, told = profiled()
    assert told["hef"]["contexts"]["value"] == 3
    assert told["hef"]["outputs"]["value"][0]["shape"] == [512]


def test_a_hailortcli_that_fails_leaves_null_and_what_it_said(profiled, hailortcli):
    hailortcli("echo no such command >&2; exit 109")
    _, told = profiled()
    assert told["hef"]["contexts"]["value"] is None
    assert "exit 109: no such command" in told["hef"]["contexts"]["reason"]


def test_the_compilers_figures_are_told_as_its_own(profiled):
    _, told = profiled(ESTIMATE)
    assert {name: figure["value"] for name, figure in told["compiler"].items()} == {
        "stats.fps": 601.5,
        "stats.layers.0.macs": 1000,
        "latency_data.total": 1.5,
    }
    assert {figure["source"] for figure in told["compiler"].values()} == {"dfc_estimate"}


def test_a_profiler_that_failed_leaves_null_and_its_reason(profiled):
    _, told = profiled({**ESTIMATE, "profile": None, "reason": "the profiler failed"})
    assert told["compiler"]["profile"]["value"] is None
    assert told["compiler"]["profile"]["reason"] == "the profiler failed"


def test_what_a_compilers_double_estimated_is_simulated(profiled):
    result, told = profiled({**ESTIMATE, "simulated": True})
    assert result.facts["simulated"] is True
    assert all(figure["simulated"] for figure in told["compiler"].values())


def test_a_device_is_asked_where_it_is_named(profiled):
    result, told = profiled(ESTIMATE, device="local")
    assert result.facts["simulated"] is True
    assert result.metrics["latency_p50_ms"] > 0
    assert result.reasons["power_w"].startswith("the board has no sensor")
    assert told["about_device"]["architecture"] == "hailo8l"
    assert result.facts["device"].startswith("Hailo-8L, firmware 4.23.0")
    assert (result.facts["framework"], result.facts["runs"]) == ("HailoRT 4.23.0", 24)
    for figure in told["device"].values():
        assert (figure["source"], figure["simulated"]) == ("device", True)


def test_a_device_that_is_named_and_has_no_chip_is_waited_for_and_the_rest_is_kept(chip_flow):
    chip_flow.environment["HAILO_DOUBLE"] = ""
    task = chip_flow.profile(device="local")
    with pytest.raises(UnavailableError, match="no Hailo chip"):
        profile.run(task)
    told = json.loads((task.output / "profiling_results.json").read_text())
    assert (told["hef"]["architecture"]["value"], told["device"]) == ("hailo8l", {})


@pytest.mark.parametrize(
    "estimate",
    ["", "{", "null", "[]", "{}", '{"simulated": false}', json.dumps({**ESTIMATE, "profile": [1]}), "[" * 100_000],
)
def test_a_damaged_compilers_profile_is_refused(profiled, estimate):
    with pytest.raises(PokeflowError, match=r"dfc_profile\.json: not a compiler's profile"):
        profiled(estimate)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_only_numbers_are_figures(value):
    for _, number in profile._numbers({"stats": value}):
        assert isinstance(number, int)
        assert not isinstance(number, bool)
