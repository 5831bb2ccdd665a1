"""Calls of ``hailortcli`` on a chip's machine, for what HailoRT's Python interface does not provide."""

from pokeflow import PokeflowError
from pokeflow_hailo.device import readings
from pokeflow_hailo.host import NOT_THERE, Host
from pokeflow_hailo.sanitize import printable

ABSENT = "hailortcli is not installed on that machine"
MAX_LENGTH = 300
"""Maximum length of a text from ``hailortcli`` in characters."""


def describe_devices(machine: Host) -> str:
    """Return a clause with the devices of a scan, their chips and firmware; or that it shows no device."""
    try:
        device_ids = readings.scan(_run(machine, "scan"))
    except ValueError as error:
        return str(error)
    try:
        identities = readings.identify(_run(machine, "fw-control", "identify"))
    except ValueError as error:
        return f"hailortcli scan shows {', '.join(device_ids)}, but {error}"[:MAX_LENGTH]
    chips = {name: f" ({chip.architecture}, firmware {chip.firmware})" for name, chip in identities.items()}
    return printable(
        f"hailortcli scan shows {', '.join(name + chips.get(name, '') for name in device_ids)}", MAX_LENGTH
    )


def about(machine: Host, device_id: str) -> dict[str, str | None]:
    """Return ``clock`` of the neural network core and ``features`` of the board, or the reason why they are unknown."""
    try:
        identities = readings.identify(_run(machine, "fw-control", "identify", "--extended"))
        if device_id not in identities:
            raise ValueError(f"hailortcli identify shows {', '.join(identities)}, and not {device_id}")
    except ValueError as error:
        return {"clock": None, "clock_reason": printable(str(error), MAX_LENGTH)}
    details = {"clock": identities[device_id].clock, "features": identities[device_id].features}
    entries = {name: value and printable(value, MAX_LENGTH) for name, value in details.items()}
    return entries if entries["clock"] else {**entries, "clock_reason": "hailortcli identify shows no clock rate"}


def _run(machine: Host, *arguments: str) -> str:
    """Return the output of ``hailortcli``; raise a ValueError if it is not installed or does not finish in time."""
    try:
        # Its own exit codes say nothing, see ``readings``; the shell's do.
        code, output = machine.output(["hailortcli", *arguments])
    except PokeflowError as error:
        raise ValueError(str(error)) from error
    if code in NOT_THERE:
        raise ValueError(ABSENT)
    return output
