"""Figures measured on a chip: each as it was measured, or null with a reason."""

import re

import pytest

from pokeflow_hailo.device import chip, measure, measured

from ..outputs import POWER, RUN_FAILED, RUN_HEADER, RUN_ROW, program


def test_all_latencies_are_kept_and_throughput_counts_frames(chip_flow):
    measurement = chip_flow.timed()
    assert len(measurement.latencies) == 20
    assert [one.batch for one in measurement.passes] == [1, 8]
    assert [len(one.done_ms) for one in measurement.passes] == [20, 4]
    for one in measurement.passes:
        assert list(one.done_ms) == sorted(one.done_ms)
        assert one.throughput == pytest.approx(one.batch * len(one.done_ms) / one.done_ms[-1] * 1000)


def test_each_loop_stops_in_time_after_at_least_one_run(chip_flow):
    measurement = chip_flow.timed(runs=10**6, max_seconds=0.05)
    assert 1 <= len(measurement.latencies) < 10**6
    assert all(1 <= len(one.done_ms) < 10**5 for one in measurement.passes)


def test_percentiles_need_enough_runs(chip_flow):
    figures = measured.figures(chip_flow.timed(runs=19), simulated=True)
    assert figures["latency_p50_ms"].value > 0
    assert figures["latency_p95_ms"].value is None
    assert "20 or more" in figures["latency_p95_ms"].reason


def test_temperatures_are_those_of_the_hotter_sensor(chip_flow):
    measurement = chip_flow.timed()
    assert measurement.temperatures[0] == 40.5
    assert list(measurement.temperatures) == sorted(measurement.temperatures)
    figures = measured.figures(measurement, simulated=True)
    assert figures["temperature_c_max"].value == measurement.temperatures[-1]


POWERS = {"power_w": "run --measure-power", "power_idle_w": "measure-power"}


def test_failed_sensor_affects_only_its_figure(chip_flow):
    chip_flow.environment["HAILO_DOUBLE_FAILS"] = "get_chip_temperature=4,get_extended_device_information=36"
    figures = measured.figures(chip_flow.timed(), simulated=True)
    assert figures["temperature_c_max"].value is None
    assert "a timeout had occurred" in figures["temperature_c_max"].reason
    for name in POWERS:
        assert (figures[name].value, "36" in figures[name].reason) == (None, True)
    assert figures["latency_p50_ms"].value > 0


def test_power_is_null_with_a_reason_without_a_sensor(chip_flow, hailortcli):
    hailortcli(program())
    measurement = chip_flow.timed()
    figures = measured.figures(measurement, simulated=True)
    assert set(measurement.said) == {"latency"}
    for name in POWERS:
        assert figures[name].value is None
        assert figures[name].reason == "the board has no sensor (supported_features.current_monitoring is off)"


def test_power_comes_from_the_boards_sensor(chip_flow, hailortcli):
    hailortcli(program())
    chip_flow.environment["HAILO_DOUBLE_SENSOR"] = "1"
    measurement = chip_flow.timed()
    figures = measured.figures(measurement, simulated=True)
    assert set(measurement.said) == {"latency"}
    assert [figures[name].value for name in POWERS] == [1.5, 0.5]
    for name in POWERS:
        assert (figures[name].unit, figures[name].source, figures[name].simulated) == ("W", "device", True)
        assert figures[name].how.startswith("the board's sensor")


@pytest.mark.parametrize("fails", ["get_power_measurement=6,power_measurement=6", "get_extended_device_information=36"])
def test_power_comes_from_hailortcli_if_python_is_refused(chip_flow, hailortcli, fails):
    hailortcli(program())
    chip_flow.environment.update(HAILO_DOUBLE_SENSOR="1", HAILO_DOUBLE_FAILS=fails)
    figures = measured.figures(chip_flow.timed(), simulated=True)
    assert [figures[name].value for name in POWERS] == [1.45, 1.4]
    for name, command in POWERS.items():
        assert figures[name].how.startswith(f"hailortcli {command}, an average")


NO_CLI = {"sensor": None, "average_w": None, "idle_w": None}


@pytest.fixture
def left(hailortcli, tmp_path, monkeypatch):
    """Return a function that gives the figures of a hailortcli script when Python reports no power."""

    def run(script):
        hailortcli(script)
        monkeypatch.chdir(tmp_path)
        said = measure.command_line({"hef": "model.hef", "max_seconds": 1}, NO_CLI)
        refused = chip.PowerReading(None, "Python was refused it")
        return measured.figures(chip.Measurement((1.0,), (), (), "", refused, refused, said), simulated=True)

    return run


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"power": "", "run": ""}, ("no table .*exit 0", "shows no power .*exit 0")),
        ({"power": POWER.replace("7", "0"), "run": RUN_HEADER + RUN_FAILED}, ("status 74", "took no sample")),
        ({"run": RUN_HEADER + RUN_ROW.replace("1.45", "")}, ("reported no average_power", None)),
    ],
)
def test_power_missing_in_both_is_null_with_both_reasons(left, said, why):
    figures = left(program(**said))
    for name, reason in zip(POWERS, why, strict=True):
        assert (figures[name].value is None) == (reason is not None)
        assert reason is None or re.match(f"Python was refused it; .*{reason}", figures[name].reason)


def test_hardware_latency_comes_from_hailortcli(left):
    figure = left(program())["hw_latency_ms"]
    assert (figure.value, figure.unit, figure.source) == (1.52, "ms", "device")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 74", "no table .*exit 74"),
        ("exit 0", "no table .*exit 0"),
        (program(run=RUN_HEADER + RUN_FAILED, ends=74), "status 74 HAILO_OUT_OF_PHYSICAL_DEVICES"),
        (program(run=RUN_HEADER + RUN_ROW.replace("1.52", "")), "hailortcli reported no hw_latency"),
        (program(run=RUN_HEADER + RUN_ROW.replace("1.52", "nan")), "not a valid number"),
    ],
)
def test_hardware_latency_is_null_if_hailortcli_fails(left, script, why):
    figure = left(script)["hw_latency_ms"]
    assert figure.value is None
    assert re.search(why, figure.reason)
