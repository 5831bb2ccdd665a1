"""Notifications to systemd by the sd_notify protocol: a datagram of ``NAME=value`` lines.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
TIMEOUT = 0.2


def notify(*lines: str) -> bool:
    """Notify the service manager if this is a unit of type notify; return False if it is not, or sending fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    path = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
            # If nobody reads them, datagrams queue up and the sender would block for ever.
            client.settimeout(TIMEOUT)
            client.sendto("\n".join(lines).encode(), path)
    except OSError:
        return False
    return True


def watchdog_s() -> float | None:
    """Return the watchdog timeout of this process in seconds, or None if its watchdog is off."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or not int(microseconds) or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1e6
