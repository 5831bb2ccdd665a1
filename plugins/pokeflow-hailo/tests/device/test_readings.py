"""What hailortcli says: figures are read where they stand, and an exit code of 0 is never taken for a device.

The outputs without a device are recorded from hailortcli 4.23; those with one have the form its sources print.
"""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_hailo.device import readings

IDENTIFY = """Executing on device: 0001:01:00.0
Identifying board
Control Protocol Version: 2
Firmware Version: 4.23.0 (release,app,extended context switch buffer)
Logger Version: 0
Board Name: Hailo-8
Device Architecture: HAILO8L
Serial Number: <N/A>
Part Number: <N/A>
Product Name: <N/A>
"""
EXTENDED = """Boot source: PCIE
Neural Network Core Clock Rate: 400MHz
Device supported features: Current Monitoring, PCIE
LCS: 0
"""
RUN_HEADER = ",".join(readings.RUN_COLUMNS) + "\n"
RUN_ROW = "small,0,HAILO_SUCCESS,601.5,9023,1450.2,5.5,1.52,,1.1,1.4,1.75,,,,45.25,46.5,47.75\n"
RUN_FAILED = "small,74,HAILO_OUT_OF_PHYSICAL_DEVICES" + "," * 11
BENCHMARK = (
    "net_name,fps,hw_only_fps,num_of_frames,num_of_frames_hw_only,hw_latency,overall_latency,"
    "min_power,average_power,max_power\nsmall,601.5,610,9023,9150,1.52,,1.1,1.4,1.75\n"
)
RUN2 = json.dumps(
    {
        "time": "Mon Nov  3 12:00:00 2025",
        "inference_mode": "full_async",
        "network_groups": [
            {"name": "small", "full_hef_path": "model.hef", "FPS": "601.504333", "hw_latency": 1.52},
        ],
        "devices": [
            {
                "device_id": "0001:01:00.0",
                "power": {"min": "1.100000 W", "max": "1.750000 W", "average": "1.400000 W"},
                "temperature": {"min": "45.250000 C", "max": "47.750000 C", "average": "46.500000 C"},
            }
        ],
    },
    indent=4,
)
PARSE_HEF = """Architecture HEF was compiled for: HAILO8L
Network group name: small, Multi Context - Number of contexts: 3
    Network name: small/small
        VStream infos:
            Input  small/input_layer1 UINT8, NHWC(224x224x3)
            Output small/fc1 UINT8, NC(512)
"""


def test_a_scan_gives_the_ids_of_what_it_found():
    assert readings.scan("Hailo Devices:\n[-] Device: 0001:01:00.0\n[-] Device: 0002:01:00.0\n") == [
        "0001:01:00.0",
        "0002:01:00.0",
    ]


@pytest.mark.parametrize("said", ["Hailo devices not found\n", "", "Hailo Devices:\n", "[-] Device: \n"])
def test_a_scan_without_a_device_is_refused_though_it_ends_with_0(said):
    with pytest.raises(ValueError, match="scan shows no device"):
        readings.scan(said)


def test_identify_tells_the_chip_by_its_architecture_and_not_by_its_boards_name():
    found = readings.identify(IDENTIFY)
    assert (found.architecture, found.board) == ("hailo8l", "Hailo-8")
    assert found.firmware == "4.23.0 (release,app,extended context switch buffer)"
    assert (found.serial, found.features) == (None, None)
    assert readings.identify(IDENTIFY + EXTENDED).features == ("Current Monitoring", "PCIE")


@pytest.mark.parametrize(
    "said",
    [
        "",
        IDENTIFY.replace("HAILO8L", "Unknown"),
        IDENTIFY.replace("Device Architecture: HAILO8L\n", ""),
        IDENTIFY[: IDENTIFY.index("Device")],
        IDENTIFY.replace("Firmware Version", "Version"),
    ],
)
def test_identify_without_a_device_is_refused_though_it_ends_with_0(said):
    with pytest.raises(ValueError, match="identify shows no device"):
        readings.identify(said)


def test_power_is_read_at_once_or_over_a_time():
    assert readings.measure_power("Current power consumption (W): 1.42\n") == {"current": 1.42}
    said = (
        "Measuring power consumption over 2 seconds:\nTotal samples: 7\nMax value (W): 1.75\nMin value (W): 1.1\n"
        "Average value (W): 1.4\nAverage time per sample (ms): 281\n"
    )
    assert readings.measure_power(said) == {"average": 1.4, "min": 1.1, "max": 1.75, "samples": 7}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "no power"),
        ("Failed power measurement, status 6\n", "no power"),
        ("Current power consumption (mA): 400\n", "no power"),
        ("Current power consumption (W): nan\n", "current is 'nan'"),
        ("Current power consumption (W): 1.4W\n", "current is '1.4W'"),
        ("Average value (W): -1\n", "average is '-1'"),
        ("Average value (W): 1\nTotal samples: 0\n", "took no sample"),
    ],
)
def test_power_that_was_not_measured_is_no_figure(said, why):
    with pytest.raises(ValueError, match=why):
        readings.measure_power(said)


def test_a_run_gives_its_figures_and_none_for_what_is_empty():
    found = readings.run_csv(RUN_HEADER + RUN_ROW)
    assert (found["fps"], found["hw_latency"], found["overall_latency"]) == (601.5, 1.52, None)
    assert (found["average_power"], found["average_current"], found["max_temp"]) == (1.4, None, 47.75)
    assert found["net_name"] == "small"


def test_a_run_that_failed_writes_a_short_row_and_its_status_is_told():
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
        (BENCHMARK, "no table with the columns"),
        (RUN_HEADER + '"small', "no table"),
        ("x" * (readings.MAX_CHARS + 1), "more than hailortcli says"),
    ],
)
def test_a_run_that_is_cut_off_or_edited_gives_no_figure(text, why):
    with pytest.raises(ValueError, match=why):
        readings.run_csv(text)


def test_a_number_as_only_python_writes_it_is_none():
    with pytest.raises(ValueError, match="1_0"):
        readings.measure_power("Current power consumption (W): 1_0")


def test_a_temperature_may_be_below_zero():
    assert readings.run_csv(RUN_HEADER + RUN_ROW.replace("45.25", "-5.5"))["min_temp"] == -5.5


def test_a_benchmark_leaves_the_overall_latency_empty():
    found = readings.benchmark_csv(BENCHMARK)
    assert (found["fps"], found["hw_only_fps"], found["hw_latency"]) == (601.5, 610, 1.52)
    assert found["overall_latency"] is None


@pytest.mark.parametrize("text", ["", BENCHMARK[:-20], BENCHMARK.replace("601.5", "many"), RUN_HEADER + RUN_FAILED])
def test_a_benchmark_that_is_cut_off_gives_no_figure(text):
    with pytest.raises(ValueError, match=r"no table|rows|a row of|no figure"):
        readings.benchmark_csv(text)


def test_run2_writes_figures_as_words_with_units():
    assert readings.run2_json(RUN2) == {
        "fps": 601.504333,
        "hw_latency": 1.52,
        "power": 1.4,
        "temperature": 46.5,
    }


def test_run2_without_sensors_tells_what_it_has():
    told = json.loads(RUN2)
    del told["devices"], told["network_groups"][0]["hw_latency"]
    assert readings.run2_json(json.dumps(told)) == {"fps": 601.504333}


@pytest.mark.parametrize(
    "text",
    [
        "",
        RUN2[:-30],
        "[]",
        "{}",
        "null",
        '{"network_groups": []}',
        '{"network_groups": [{"name": "small"}]}',
        RUN2.replace('"601.504333"', "NaN"),
        RUN2.replace("601.504333", "fast"),
        RUN2.replace('"601.504333"', "true"),
        RUN2.replace("1.400000 W", "1400.0 mW"),
        RUN2.replace("1.400000 W", "W"),
        "[" * 100_000,
    ],
)
def test_run2_that_is_cut_off_or_edited_gives_no_figure(text):
    with pytest.raises(ValueError, match=r"."):
        readings.run2_json(text)


def test_parse_hef_shows_chip_contexts_and_streams():
    found = readings.parse_hef(PARSE_HEF)
    assert (found["architecture"], found["network"], found["contexts"]) == ("hailo8l", "small", 3)
    assert found["inputs"] == [{"name": "small/input_layer1", "type": "UINT8", "order": "NHWC", "shape": [224, 224, 3]}]
    assert found["outputs"] == [{"name": "small/fc1", "type": "UINT8", "order": "NC", "shape": [512]}]
    single = PARSE_HEF.replace("Multi Context - Number of contexts: 3", "Single Context")
    assert readings.parse_hef(single)["contexts"] == 1


@pytest.mark.parametrize("text", ["", PARSE_HEF[:60], PARSE_HEF.replace("HAILO8L", "a chip"), "not a HEF"])
def test_parse_hef_of_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="shows no network"):
        readings.parse_hef(text)


def test_an_output_of_blanks_as_long_as_is_taken_is_read_to_its_end():
    # Hours, for a pattern that looks at all that follows from every place.
    filled = PARSE_HEF + "\n" * (readings.MAX_CHARS - len(PARSE_HEF))
    assert readings.parse_hef(filled) == readings.parse_hef(PARSE_HEF)
    blank = "Serial Number: " + " " * (readings.MAX_CHARS - len(IDENTIFY) - 20) + "\n"
    assert readings.identify(blank + IDENTIFY) == readings.identify(IDENTIFY)


READERS = (
    readings.scan,
    readings.identify,
    readings.measure_power,
    readings.run_csv,
    readings.benchmark_csv,
    readings.run2_json,
    readings.parse_hef,
)
OUTPUTS = (IDENTIFY + EXTENDED, RUN_HEADER + RUN_ROW, RUN_HEADER + RUN_FAILED, BENCHMARK, RUN2, PARSE_HEF)


@given(st.sampled_from(READERS), st.text(max_size=200))
def test_noise_is_refused_by_every_reader(read, text):
    with pytest.raises(ValueError, match=r"."):
        read(text)


@given(st.data(), st.sampled_from(READERS), st.sampled_from(OUTPUTS))
def test_an_output_with_a_part_replaced_is_read_or_refused(data, read, output):
    start = data.draw(st.integers(0, len(output)))
    end = data.draw(st.integers(start, len(output)))
    with contextlib.suppress(ValueError):
        read(output[:start] + data.draw(st.text(max_size=8)) + output[end:])
