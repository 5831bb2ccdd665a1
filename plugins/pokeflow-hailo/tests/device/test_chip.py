"""A chip here or over ssh: asked by the script that travels to it; its answers are believed where they are sound."""

import contextlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow import PokeflowError, Unavailable
from pokeflow.images.preprocessing import to_square
from pokeflow.testing.data import SPEC, drawn
from pokeflow.testing.network import embedded
from pokeflow_hailo.device import chip, measured

from ..doubles import hef_bytes
from ..outputs import DEVICE, NO_IDENTIFY, NO_SCAN, POWER, RUN_FAILED, RUN_HEADER, RUN_ROW, program
from ..ssh_server import NAME


@pytest.fixture(params=["here", "over ssh"])
def device(request):
    """What ``device`` is in YAML: this machine, or one that ssh reaches; the same is true of both."""
    if request.param == "here":
        return "local"
    request.getfixturevalue("ssh_server")
    return NAME


def opened(flow, device="local", **given):
    return chip.opened(device, given.get("python") or flow.python, flow.compiled().folder / "model.hef")


def timed(flow, **wanted):
    squares = to_square(drawn().references[:5], SPEC)
    asked = {"runs": 20, "warmup": 2, "batch_sizes": (1, 8), "max_seconds": 20.0, **wanted}
    with opened(flow) as found:
        return found.time(squares, **asked)


def test_it_says_what_it_is_and_that_it_is_a_double(chip_flow, device):
    with opened(chip_flow, device) as found:
        assert found.simulated is True
        assert found.about["architecture"] == "hailo8l"
        assert (found.about["firmware"], found.about["library"]) == ("4.23.0 (release,app)", "4.23.0")
        assert found.about["driver"] is not None or found.about["driver_reason"]
        assert found.about["clock_reason"] == "hailortcli is not installed there"


def test_what_hailortcli_alone_knows_of_it_is_told_too(chip_flow, hailortcli):
    hailortcli(program())
    with opened(chip_flow) as found:
        assert (found.about["id"], found.about["clock"]) == (DEVICE, "400MHz")
        assert found.about["features"] == "Current Monitoring, PCIE"


def test_embeddings_are_those_of_the_network_that_plays_it(chip_flow, device, monkeypatch):
    monkeypatch.setattr(chip, "PART", 32)
    cards = drawn().references
    with opened(chip_flow, device) as found:
        rows = found.embed(cards, range(len(cards)), SPEC, "gallery")
    assert rows.shape == (48, 32)
    assert np.allclose(rows, embedded(cards), atol=1e-4)


def test_every_latency_is_kept_and_throughput_is_of_what_was_done(chip_flow):
    found = timed(chip_flow)
    assert len(found.latencies) == 20
    assert [one.batch for one in found.passes] == [1, 8]
    assert [len(one.done_ms) for one in found.passes] == [20, 4]
    for one in found.passes:
        assert list(one.done_ms) == sorted(one.done_ms)
        assert one.throughput == pytest.approx(one.batch * len(one.done_ms) / one.done_ms[-1] * 1000)


def test_each_loop_ends_after_its_time_and_has_run_at_least_once(chip_flow):
    found = timed(chip_flow, runs=10**6, max_seconds=0.05)
    assert 1 <= len(found.latencies) < 10**6
    assert all(1 <= len(one.done_ms) < 10**5 for one in found.passes)


def test_temperatures_are_those_of_the_hotter_sensor(chip_flow):
    found = timed(chip_flow)
    assert found.temperatures[0] == 40.5
    assert list(found.temperatures) == sorted(found.temperatures)
    figures = measured.figures(found, simulated=True)
    assert figures["temperature_c_max"].value == found.temperatures[-1]


def test_a_sensor_that_fails_costs_its_figure_only(chip_flow):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = "get_chip_temperature=4,get_extended_device_information=36"
    figures = measured.figures(timed(chip_flow), simulated=True)
    assert figures["temperature_c_max"].value is None
    assert "a timeout had occurred" in figures["temperature_c_max"].reason
    for name in POWERS:
        assert (figures[name].value, "36" in figures[name].reason) == (None, True)
    assert figures["latency_p50_ms"].value > 0


POWERS = {"power_w": "run --measure-power", "power_idle_w": "measure-power"}


def test_power_is_null_with_the_reason_where_the_board_has_no_sensor(chip_flow, hailortcli):
    hailortcli(program())
    found = timed(chip_flow)
    figures = measured.figures(found, simulated=True)
    assert set(found.said) == {"latency"}
    for name in POWERS:
        assert figures[name].value is None
        assert figures[name].reason == "the board has no sensor (supported_features.current_monitoring is off)"


def test_power_is_the_sensors_where_the_board_has_one(chip_flow, hailortcli):
    hailortcli(program())
    chip_flow.environment["HAILO_DOUBLE_SENSOR"] = "1"
    found = timed(chip_flow)
    figures = measured.figures(found, simulated=True)
    assert set(found.said) == {"latency"}
    assert [figures[name].value for name in POWERS] == [1.5, 0.5]
    for name in POWERS:
        assert (figures[name].unit, figures[name].source, figures[name].simulated) == ("W", "device", True)
        assert figures[name].how.startswith("the board's sensor")


@pytest.mark.parametrize("fails", ["get_power_measurement=6,power_measurement=6", "get_extended_device_information=36"])
def test_power_is_asked_of_hailortcli_where_python_refuses_this_chip(chip_flow, hailortcli, fails):
    hailortcli(program())
    chip_flow.environment.update(HAILO_DOUBLE_SENSOR="1", HAILO_DOUBLE_FAILS=fails)
    figures = measured.figures(timed(chip_flow), simulated=True)
    assert [figures[name].value for name in POWERS] == [1.45, 1.4]
    for name, command in POWERS.items():
        assert figures[name].how.startswith(f"hailortcli {command}, an average")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"power": "", "run": ""}, ("no table .*exit 0", "shows no power .*exit 0")),
        ({"power": POWER.replace("7", "0"), "run": RUN_HEADER + RUN_FAILED}, ("status 74", "took no sample")),
        ({"run": RUN_HEADER + RUN_ROW.replace("1.45", "")}, ("left average_power empty", "")),
    ],
)
def test_power_that_hailortcli_does_not_show_is_null_with_both_reasons(chip_flow, hailortcli, said, why):
    hailortcli(program(**said))
    chip_flow.environment.update(
        HAILO_DOUBLE_SENSOR="1", HAILO_DOUBLE_FAILS="start_power_measurement=6,power_measurement=6"
    )
    figures = measured.figures(timed(chip_flow), simulated=True)
    for name, reason in zip(POWERS, why, strict=True):
        if reason:
            assert figures[name].value is None
            assert re.search(f"Invalid operation.*; .*{reason}", figures[name].reason, re.DOTALL)


def test_hardware_latency_is_hailortclis(chip_flow, hailortcli):
    hailortcli(program())
    figure = measured.figures(timed(chip_flow), simulated=True)["hw_latency_ms"]
    assert (figure.value, figure.unit) == (1.52, "ms")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 74", "no table .*exit 74"),
        ("exit 0", "no table .*exit 0"),
        (program(run=RUN_HEADER + RUN_FAILED, ends=74), "status 74 HAILO_OUT_OF_PHYSICAL_DEVICES"),
        (program(run=RUN_HEADER + RUN_ROW.replace("1.52", "")), "hailortcli left hw_latency empty"),
        (program(run=RUN_HEADER + RUN_ROW.replace("1.52", "nan")), "no figure"),
    ],
)
def test_hardware_latency_is_null_with_the_reason_where_hailortcli_fails(chip_flow, hailortcli, script, why):
    hailortcli(script)
    figure = measured.figures(timed(chip_flow), simulated=True)["hw_latency_ms"]
    assert figure.value is None
    assert re.search(why, figure.reason)


def test_percentiles_need_runs_enough(chip_flow):
    figures = measured.figures(timed(chip_flow, runs=19), simulated=True)
    assert figures["latency_p50_ms"].value > 0
    assert figures["latency_p95_ms"].value is None
    assert "20 or more" in figures["latency_p95_ms"].reason


@pytest.mark.parametrize(
    ("environment", "kind", "says"),
    [
        ({"HAILO_DOUBLE": ""}, Unavailable, r"finds no Hailo chip .*hailo-all.*HailoRT 4\.23 goes with .*3\.33\.0"),
        ({"HAILO_DOUBLE_FAILS": "scan=64"}, Unavailable, "driver is not installed"),
        ({"HAILO_DOUBLE_FAILS": "Device=74"}, Unavailable, "no chip is free"),
        ({"HAILO_DOUBLE_FAILS": "Device=76"}, PokeflowError, "driver and library are of different versions"),
        ({"HAILO_DOUBLE_FAILS": "identify=4"}, PokeflowError, "did not answer in time"),
        ({"HAILO_DOUBLE": "hailo8"}, PokeflowError, "its chip is hailo8, and model.hef is compiled for hailo8l"),
    ],
)
def test_a_chip_that_cannot_be_used_is_told_before_anything_is_sent(chip_flow, environment, kind, says):
    chip_flow.environment.update(environment)
    with pytest.raises(PokeflowError, match=says) as refused, opened(chip_flow):
        pass
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("VDevice=73", "another program has the chip"),
        ("create_infer_model=93", "the HEF is for another chip"),
        ("create_infer_model=92", r"compiler and HailoRT go together.*HailoRT 4\.23 goes with"),
        ("run=4", "did not answer in time"),
        ("configure=2", "HailoRTInvalidArgumentException"),
    ],
)
def test_what_fails_on_the_way_is_told_in_a_sentence(chip_flow, fails, says):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = fails
    data = drawn()
    with opened(chip_flow) as found, pytest.raises(PokeflowError, match=says):
        found.embed(data.references, range(4), SPEC, "gallery")


def test_a_batch_that_fails_under_way_is_not_counted(chip_flow):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = "run_async=62"
    with pytest.raises(PokeflowError, match="62"):
        timed(chip_flow)


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_an_interpreter_that_is_not_there_or_says_nothing_is_told(chip_flow, device, python):
    with (
        pytest.raises(PokeflowError, match=rf"{python}.*(is not there|left no answer)") as refused,
        opened(chip_flow, device, python=python),
    ):
        pass
    assert isinstance(refused.value, Unavailable) == (python == "no-such-python")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "hailortcli is not installed there"),
        (program(), rf"hailortcli scan shows {DEVICE} \(hailo8l, firmware 4\.23\.0 "),
        (program(scan=NO_SCAN, identify=NO_IDENTIFY), "hailortcli scan shows no device"),
    ],
)
@pytest.mark.parametrize("runtime", [False, True])
def test_without_hailort_or_a_chip_it_is_told_what_hailortcli_sees(chip_flow, hailortcli, script, says, runtime):
    if script:
        hailortcli(script)
    chip_flow.environment["HAILO_DOUBLE"] = ""
    python, why = (chip_flow.python, "finds no Hailo chip") if runtime else (sys.executable, "cannot import hailo_plat")
    with pytest.raises(Unavailable, match=rf"{why}.*; {says}.*hailo-all"), opened(chip_flow, python=python):
        pass


def test_a_damaged_hef_is_not_sent(chip_flow):
    file = chip_flow.compiled().folder / "model.hef"
    file.write_bytes(hef_bytes.make()[:-1])
    with pytest.raises(PokeflowError, match="not a sound HEF"), chip.opened("local", chip_flow.python, file):
        pass


def test_nothing_is_left_on_the_device(chip_flow, ssh_server):
    with opened(chip_flow, NAME) as found:
        found.embed(drawn().references, range(3), SPEC, "gallery")
    assert not list((ssh_server.home / "tmp").glob("pokeflow*"))


ANSWER = {
    "simulated": False,
    "device": {"architecture": "hailo8l"},
    "time": {
        "latency_ms": [1.0, 2.0],
        "throughput": [{"batch": 1, "done_ms": [1.0]}, {"batch": 8, "done_ms": [2.0]}],
        "temperature": {"celsius": [40.0], "reason": None},
        "power": {"sensor": True, "average_w": 1.5, "reason": None, "idle_w": None, "idle_reason": "refused"},
    },
    "hailortcli": {},
}


def played(flow, answer, code=0):
    """An interpreter that answers this, whatever it is asked."""
    file = flow.root / "liar"
    (flow.root / "answer").write_text(answer)
    file.write_text(f'#!/bin/sh\ncp {flow.root / "answer"} "$3"\nexit {code}\n')
    file.chmod(0o755)
    return str(file)


def test_a_sound_answer_is_taken(chip_flow):
    with opened(chip_flow, python=played(chip_flow, json.dumps(ANSWER))) as found:
        told = found.time(np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1)
    assert (told.latencies, told.power.value, found.simulated) == ((1.0, 2.0), 1.5, False)
    assert told.idle == chip.Watts(None, "refused")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 10_000,
        json.dumps({**ANSWER, "simulated": "no"}),
        json.dumps({**ANSWER, "device": None}),
        json.dumps({"problem": {}}),
        json.dumps({"problem": "none"}),
        json.dumps(ANSWER).replace("1.0", "NaN"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(chip_flow, answer):
    with pytest.raises(PokeflowError, match="makes no sense"), opened(chip_flow, python=played(chip_flow, answer)):
        pass


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1.0, 2.0]", "[]"),
        ("[1.0, 2.0]", "[0.0]"),
        ("[1.0, 2.0]", "[-1.0]"),
        ("[1.0, 2.0]", '["1"]'),
        ("[1.0, 2.0]", "[true]"),
        ("[1.0, 2.0]", "null"),
        ('"batch": 8', '"batch": 4'),
        ('"done_ms": [2.0]', '"done_ms": []'),
        ("[40.0]", '["hot"]'),
        ('"average_w": 1.5', '"average_w": "much"'),
        ('"idle_w": null', '"idle_w": true'),
        ('"hailortcli": {}', '"hailortcli": []'),
        ('"hailortcli": {}', '"hailortcli": {"latency": []}'),
        ('"power"', '"might"'),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused(chip_flow, old, new):
    text = json.dumps(ANSWER)
    assert old in text
    with (
        opened(chip_flow, python=played(chip_flow, text.replace(old, new, 1))) as found,
        pytest.raises(PokeflowError, match="makes no sense"),
    ):
        found.time(np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1)


def test_what_a_device_says_is_kept_within_bounds_and_moves_no_cursor(chip_flow):
    about = {f"part {i}": "\x1b[2J" + "x" * 10_000 for i in range(1000)}
    cli = {"latency": {"exit": 1, "said": "\x1b[2J" * 9000, "csv": "y" * 90_000}, "more": "z" * 10_000}
    answer = {**ANSWER, "device": {**ANSWER["device"], **about}, "hailortcli": cli}
    with opened(chip_flow, python=played(chip_flow, json.dumps(answer))) as found:
        told = found.time(np.zeros((1, 32, 32, 3), np.uint8), runs=2, warmup=0, batch_sizes=(1, 8), max_seconds=1)
    text = json.dumps([found.about, told.said])
    assert len(text) < 30_000
    assert "u001b" not in text
    assert set(told.said) == {"latency"}


@pytest.mark.parametrize("answer", [None, {"problem": {"kind": "failed", "text": "\x1b]0;mine\x07"}}])
def test_no_error_of_a_device_moves_the_cursor(chip_flow, answer):
    shouts = chip_flow.root / "shouts"
    shouts.write_text("#!/bin/sh\nprintf '\\033]0;mine\\007'\nexit 9\n")
    shouts.chmod(0o755)
    python = played(chip_flow, json.dumps(answer)) if answer else str(shouts)
    with pytest.raises(PokeflowError, match="mine") as told, opened(chip_flow, python=python):
        pass
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    "made",
    [
        lambda file: np.save(file, np.zeros((3, 24), np.float64)),
        lambda file: np.save(file, np.zeros((2, 24), np.float32)),
        lambda file: np.save(file, np.zeros(3, np.float32)),
        lambda file: np.save(file, np.full((3, 24), np.nan, np.float32)),
        lambda file: np.save(file, np.asarray([{}] * 3, object), allow_pickle=True),
        lambda file: file.write_bytes(b"\x93NUMPY"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"PK\x03\x04 no archive"),
        lambda file: file.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((("),
        lambda file: np.savez(file.with_suffix(".npz"), np.zeros(3)) or file.with_suffix(".npz").rename(file),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused(tmp_path, made):
    made(tmp_path / "rows.npy")
    with pytest.raises(PokeflowError, match=r"pi: its embeddings cannot be used"):
        chip._rows(tmp_path / "rows.npy", 3, "pi")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ANSWER, *ANSWER["time"]]), inner),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_whatever_is_answered_is_figures_or_an_error_that_is_caught(told):
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        chip._measured({**ANSWER, "time": told}, (1, 8))


def test_the_script_stands_alone():
    code = f"import ast, sys; tree = ast.parse(open({str(chip.SCRIPT)!r}).read(), feature_version=(3, 9))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    text = chip.SCRIPT.read_text()
    names = set(re.findall(r"^ *(?:import|from) ([\w.]+)", text, re.MULTILINE))
    assert names - set(sys.stdlib_module_names) == {"numpy", "hailo_platform"}
