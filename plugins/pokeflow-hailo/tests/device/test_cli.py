"""hailortcli with and without a chip: only its output counts, whatever its exit code."""

import pytest

from pokeflow import PokeflowError
from pokeflow_hailo import host
from pokeflow_hailo.device import cli

from ..outputs import DEVICE, EXTENDED, IDENTIFY, NO_IDENTIFY, NO_SCAN, SCAN, program


def seen():
    with host.open_host() as machine:
        return cli.describe_devices(machine)


def about(device=DEVICE):
    with host.open_host() as machine:
        return cli.about(machine, device)


def test_missing_hailortcli_is_reported():
    assert seen() == cli.ABSENT
    assert about() == {"clock": None, "clock_reason": cli.ABSENT}


def test_connected_chip_is_named_with_its_firmware(hailortcli):
    hailortcli(program())
    assert (
        seen()
        == f"hailortcli scan shows {DEVICE} (hailo8l, firmware 4.23.0 (release,app,extended context switch buffer))"
    )


@pytest.mark.parametrize("ends", [0, 1])
def test_no_device_is_reported_whatever_the_exit_code(hailortcli, ends):
    hailortcli(program(scan=NO_SCAN, identify=NO_IDENTIFY, ends=ends))
    assert seen() == "hailortcli scan shows no device"
    assert about() == {"clock": None, "clock_reason": "hailortcli identify shows no device"}


def test_unidentified_chip_is_still_listed(hailortcli):
    hailortcli(program(identify=NO_IDENTIFY))
    assert seen() == f"hailortcli scan shows {DEVICE}, but hailortcli identify shows no device"


def test_clock_and_features_are_those_of_the_measured_device(hailortcli):
    hailortcli(program())
    assert about() == {"clock": "400MHz", "features": "Current Monitoring, PCIE"}
    assert about("0002:01:00.0")["clock_reason"] == f"hailortcli identify shows {DEVICE}, and not 0002:01:00.0"


def test_missing_clock_is_null_with_a_reason(hailortcli):
    hailortcli(program(identify=IDENTIFY + EXTENDED.replace("Clock", "Cluck")))
    assert about() == {
        "clock": None,
        "features": "Current Monitoring, PCIE",
        "clock_reason": "hailortcli identify shows no clock rate",
    }


@pytest.mark.parametrize("said", [{"scan": SCAN * 900}, {"identify": IDENTIFY.replace("4.23.0", "4" * 9000)}])
def test_output_is_bounded(hailortcli, said):
    hailortcli(program(**said))
    assert len(seen()) <= cli.MAX_LENGTH
    hailortcli(program(identify=IDENTIFY + EXTENDED.replace("400MHz", "4" * 9000)))
    assert len(about()["clock"]) == cli.MAX_LENGTH


def test_hanging_hailortcli_is_reported(monkeypatch):
    def late(*_):
        raise PokeflowError("this machine: hailortcli exceeded 60 s and was terminated.")

    monkeypatch.setattr(host.Host, "output", late)
    assert "exceeded" in seen()
    assert "exceeded" in str(about()["clock_reason"])
