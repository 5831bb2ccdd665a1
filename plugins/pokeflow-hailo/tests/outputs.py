"""Outputs of ``hailortcli``: without a device as recorded from 4.23, with one as its sources print them."""

from pokeflow_hailo.device.readings import RUN_COLUMNS

DEVICE = "0001:01:00.0"
SCAN = f"Hailo Devices:\n[-] Device: {DEVICE}\n"
NO_SCAN = "Hailo devices not found\n"
IDENTIFY = f"""Executing on device: {DEVICE}
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
NO_IDENTIFY = ""
POWER = """Measuring power consumption over 2 seconds:
Total samples: 7
Max value (W): 1.75
Min value (W): 1.1
Average value (W): 1.4
Average time per sample (ms): 281
"""
RUN_HEADER = ",".join(RUN_COLUMNS) + "\n"
RUN_ROW = "small,0,HAILO_SUCCESS,601.5,9023,1450.2,5.5,1.52,,1.1,1.45,1.75,,,,45.25,46.5,47.75\n"
RUN_FAILED = "small,74,HAILO_OUT_OF_PHYSICAL_DEVICES" + "," * 11
"""A short row without an end of line, as recorded from a run without a device."""
PARSE_HEF = """Architecture HEF was compiled for: HAILO8L
Network group name: small, Multi Context - Number of contexts: 3
    Network name: small/small
        VStream infos:
            Input  small/input_layer1 UINT8, NHWC(224x224x3)
            Output small/fc1 UINT8, NC(512)
"""


def program(
    *,
    scan: str = SCAN,
    identify: str = IDENTIFY + EXTENDED,
    power: str = POWER,
    run: str = RUN_HEADER + RUN_ROW,
    ends: int = 0,
) -> str:
    """Return a shell script that prints these outputs, exits with ``ends``, and accepts only pokeflow's commands."""
    return f"""
for word in "$@"; do last=$word; done
case "$*" in
    scan) cat <<'END'
{scan}END
    ;;
    "fw-control identify"|"fw-control identify --extended") cat <<'END'
{identify}END
    ;;
    "measure-power --duration 2") cat <<'END'
{power}END
    ;;
    "run model.hef -t "*" --measure-latency --csv "*|"run model.hef -t "*" --measure-power --csv "*)
        printf '%s' '{run}' > "$last" ;;
    *) exit 109 ;;
esac
exit {ends}
"""
