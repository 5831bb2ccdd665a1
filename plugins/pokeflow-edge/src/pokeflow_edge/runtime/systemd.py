"""Notifications to systemd by the sd_notify protocol: a datagram of ``NAME=value`` lines.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
PATIENCE = 0.2


def notify(*lines: str) -> bool:
    """Notify the service manager if this is a unit of type notify; return False if it is not, or sending fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            # If nobody reads them, datagrams queue up and the sender would block for ever.
            there.settimeout(PATIENCE)
            there.sendto("\n".join(lines).encode(), target)
    except OSError:
        return False
    return True


def watchdog_s() -> float | None:
    """Return the watchdog timeout of this process in seconds, or None if its watchdog is off."""
    microseconds, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or not int(microseconds) or (whose and whose != str(os.getpid())):
        return None
    return int(microseconds) / 1e6
