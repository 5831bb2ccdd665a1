"""Calls of ``hailortcli`` on a chip's machine, for what HailoRT's Python interface does not provide."""

from pokeflow import PokeflowError
from pokeflow_hailo.device import readings
from pokeflow_hailo.host import NOT_THERE, Host
from pokeflow_hailo.shown import printable

ABSENT = "hailortcli is not installed there"
MOST = 300
"""Maximum length of a text from ``hailortcli`` in characters."""


def describe_devices(machine: Host) -> str:
    """Return a clause with the devices of a scan, their chips and firmware; or that it shows no device."""
    try:
        devices = readings.scan(_said(machine, "scan"))
    except ValueError as error:
        return str(error)
    try:
        known = readings.identify(_said(machine, "fw-control", "identify"))
    except ValueError as error:
        return f"hailortcli scan shows {', '.join(devices)}, but {error}"[:MOST]
    chips = {name: f" ({chip.architecture}, firmware {chip.firmware})" for name, chip in known.items()}
    return printable(f"hailortcli scan shows {', '.join(name + chips.get(name, '') for name in devices)}", MOST)


def about(machine: Host, device_id: str) -> dict[str, str | None]:
    """Return ``clock`` of the neural network core and ``features`` of the board, or the reason why they are unknown."""
    try:
        devices = readings.identify(_said(machine, "fw-control", "identify", "--extended"))
        if device_id not in devices:
            raise ValueError(f"hailortcli identify shows {', '.join(devices)}, and not {device_id}")
    except ValueError as error:
        return {"clock": None, "clock_reason": printable(str(error), MOST)}
    facts = {"clock": devices[device_id].clock, "features": devices[device_id].features}
    kept = {name: value and printable(value, MOST) for name, value in facts.items()}
    return kept if kept["clock"] else {**kept, "clock_reason": "hailortcli identify shows no clock rate"}


def _said(machine: Host, *command: str) -> str:
    """Return the output of ``hailortcli``; raise a ValueError if it is not installed or does not finish in time."""
    try:
        # Its own exit codes say nothing, see ``readings``; the shell's do.
        code, said = machine.output(["hailortcli", *command])
    except PokeflowError as error:
        raise ValueError(str(error)) from error
    if code in NOT_THERE:
        raise ValueError(ABSENT)
    return said
