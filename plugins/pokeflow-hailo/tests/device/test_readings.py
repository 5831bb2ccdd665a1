"""Parsing hailortcli's output: figures are read by their labels, and output without a device is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.device import readings

from ..outputs import (
    DEVICE,
    EXTENDED,
    IDENTIFY,
    NO_IDENTIFY,
    NO_SCAN,
    PARSE_HEF,
    POWER,
    RUN_FAILED,
    RUN_HEADER,
    RUN_ROW,
    SCAN,
)


def test_scan_returns_the_device_ids():
    assert readings.scan(SCAN + "[-] Device: 0002:01:00.0\n") == [DEVICE, "0002:01:00.0"]


@pytest.mark.parametrize("said", [NO_SCAN, "", "Hailo Devices:\n", "[-] Device: \n"])
def test_scan_without_a_device_is_refused(said):
    with pytest.raises(ValueError, match="scan shows no device"):
        readings.scan(said)


def test_identify_uses_the_architecture_not_the_board_name():
    assert "Board Name: Hailo-8\n" in IDENTIFY
    firmware = "4.23.0 (release,app,extended context switch buffer)"
    assert readings.identify(IDENTIFY) == {DEVICE: readings.Identity("hailo8l", firmware, None, None)}
    extended = readings.identify(IDENTIFY + EXTENDED)[DEVICE]
    assert (extended.clock, extended.features) == ("400MHz", "Current Monitoring, PCIE")


def test_identify_separates_devices():
    other = IDENTIFY.replace(DEVICE, "0002:01:00.0").replace("HAILO8L", "HAILO8")
    devices = readings.identify(IDENTIFY + EXTENDED + other)
    assert {name: one.architecture for name, one in devices.items()} == {DEVICE: "hailo8l", "0002:01:00.0": "hailo8"}
    assert devices["0002:01:00.0"].clock is None


@pytest.mark.parametrize(
    "said",
    [
        NO_IDENTIFY,
        IDENTIFY.replace("HAILO8L", "Unknown"),
        IDENTIFY.replace("Device Architecture: HAILO8L\n", ""),
        IDENTIFY[: IDENTIFY.index("Device")],
        IDENTIFY[IDENTIFY.index("Identifying") :],
        IDENTIFY.replace("Firmware Version", "Version"),
    ],
)
def test_identify_without_a_device_is_refused(said):
    with pytest.raises(ValueError, match="identify shows no device"):
        readings.identify(said)


def test_power_is_the_reported_average():
    assert readings.measure_power(POWER) == 1.4


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "no power"),
        ("Failed power measurement, status 6\n", "no power"),
        ("Current power consumption (W): 1.42\n", "no power"),
        (POWER.replace("(W)", "(mW)"), "no power"),
        (POWER[: POWER.index("Average")], "no power"),
        (POWER.replace("1.4\n", "nan\n"), "average is 'nan'"),
        (POWER.replace("1.4\n", "1.4W\n"), "average is '1.4W'"),
        (POWER.replace("1.4\n", "-1\n"), "average is '-1'"),
        # Only Python reads this as ten.
        (POWER.replace("1.4\n", "1_0\n"), "average is '1_0'"),
        (POWER.replace("samples: 7", "samples: 0"), "took no sample"),
    ],
)
def test_unmeasured_power_is_refused(said, why):
    with pytest.raises(ValueError, match=why):
        readings.measure_power(said)


def test_run_returns_its_figures_and_none_for_empty_cells():
    figures = readings.run_csv(RUN_HEADER + RUN_ROW)
    assert (figures["fps"], figures["hw_latency"], figures["overall_latency"]) == (601.5, 1.52, None)
    assert (figures["average_power"], figures["average_current"], figures["max_temp"]) == (1.45, None, 47.75)
    assert figures["net_name"] == "small"


def test_failed_run_is_reported_with_its_status():
    assert len(RUN_FAILED.split(",")) == readings.FAILED_FIELDS
    with pytest.raises(ValueError, match="failed: status 74 HAILO_OUT_OF_PHYSICAL_DEVICES"):
        readings.run_csv(RUN_HEADER + RUN_FAILED)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table"),
        (RUN_ROW, "no table"),
        (RUN_HEADER, "0 rows"),
        (RUN_HEADER + RUN_ROW + RUN_ROW, "2 rows"),
        (RUN_HEADER + RUN_ROW[:40], "a row of"),
        (RUN_HEADER + RUN_FAILED.replace(",74,", ",0,"), "a row of 14"),
        (RUN_HEADER + RUN_ROW.replace("1.52", "nan"), "hw_latency is 'nan'"),
        (RUN_HEADER + RUN_ROW.replace("1.52", "inf"), "hw_latency is 'inf'"),
        (RUN_HEADER + RUN_ROW.replace("1.52", "-1.52"), "hw_latency is '-1.52'"),
        (RUN_HEADER + RUN_ROW.replace("1.52", "1.52 ms"), "hw_latency is '1.52 ms'"),
        (RUN_HEADER + RUN_ROW.replace(",0,", ",62,"), "failed: status 62"),
        (RUN_HEADER.replace("hw_latency", "latency") + RUN_ROW, "no table with the columns"),
        (RUN_HEADER + '"small', "no table"),
        ("x" * (readings.MAX_CHARS + 1), "exceed the output of hailortcli"),
    ],
)
def test_truncated_or_edited_run_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        readings.run_csv(text)


def test_a_temperature_may_be_below_zero():
    assert readings.run_csv(RUN_HEADER + RUN_ROW.replace("45.25", "-5.5"))["min_temp"] == -5.5


def test_parse_hef_shows_chip_contexts_and_streams():
    summary = readings.parse_hef(PARSE_HEF)
    assert (summary["architecture"], summary["network"], summary["contexts"]) == ("hailo8l", "small", 3)
    assert summary["inputs"] == [
        {"name": "small/input_layer1", "type": "UINT8", "order": "NHWC", "shape": [224, 224, 3]}
    ]
    assert summary["outputs"] == [{"name": "small/fc1", "type": "UINT8", "order": "NC", "shape": [512]}]
    single = PARSE_HEF.replace("Multi Context - Number of contexts: 3", "Single Context")
    assert readings.parse_hef(single)["contexts"] == 1


@pytest.mark.parametrize("text", ["", PARSE_HEF[:60], PARSE_HEF.replace("HAILO8L", "a chip"), "not a HEF"])
def test_parse_hef_refuses_other_output(text):
    with pytest.raises(ValueError, match="shows no network"):
        readings.parse_hef(text)


def test_long_blank_output_is_parsed_quickly():
    # A pattern that scans the rest from every position would take hours.
    filled = PARSE_HEF + "\n" * (readings.MAX_CHARS - len(PARSE_HEF))
    assert readings.parse_hef(filled) == readings.parse_hef(PARSE_HEF)
    blank = "Serial Number: " + " " * (readings.MAX_CHARS - len(IDENTIFY) - 20) + "\n"
    assert readings.identify(IDENTIFY + blank) == readings.identify(IDENTIFY)


READERS = (readings.scan, readings.identify, readings.measure_power, readings.run_csv, readings.parse_hef)
OUTPUTS = (SCAN, IDENTIFY + EXTENDED, POWER, RUN_HEADER + RUN_ROW, RUN_HEADER + RUN_FAILED, PARSE_HEF)


@given(st.sampled_from(READERS), st.text(max_size=200))
def test_random_text_is_refused_by_every_reader(read, text):
    with pytest.raises(ValueError, match=r"."):
        read(text)


@given(st.data(), st.sampled_from(READERS), st.sampled_from(OUTPUTS))
def test_an_output_with_a_part_replaced_is_read_or_refused(data, read, output):
    start = data.draw(st.integers(0, len(output)))
    end = data.draw(st.integers(start, len(output)))
    with contextlib.suppress(ValueError):
        read(output[:start] + data.draw(st.text(max_size=8)) + output[end:])
