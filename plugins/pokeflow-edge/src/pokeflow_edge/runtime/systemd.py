"""What systemd is told of a service: sd_notify's protocol, a datagram of ``NAME=value`` lines.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
PATIENCE = 0.2


def tell(*lines: str) -> bool:
    """Send to whoever started this process as a service of type notify; False where nobody did, or hears it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    place = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            # Where nobody reads, datagrams queue up, and a sender would wait for ever.
            there.settimeout(PATIENCE)
            there.sendto("\n".join(lines).encode(), place)
    except OSError:
        return False
    return True


def watchdog_s() -> float | None:
    """Seconds within which systemd wants to hear that this process is alive; None where it does not watch."""
    asked, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not asked.isdecimal() or not int(asked) or (whose and whose != str(os.getpid())):
        return None
    return int(asked) / 1e6
