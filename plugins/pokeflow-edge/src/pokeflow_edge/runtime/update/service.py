"""Control of the service that an update restarts and monitors, by commands such as systemctl."""

import json
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

STEADY = 3
"""Consecutive good responses of a healthy service: it could still fail after the first one."""
PAUSE = 1.0
"""Seconds between two health checks."""
NAMES = ("model", "version", "target", "preprocessing")
"""Fields that a service's response and its bundle share."""
TIMEOUT = 120.0
"""Timeout of a command in seconds."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service of an update.

    Attributes:
        restart: Command that restarts it; empty skips restart and health check.
        stop: Command that stops it; empty skips the stop.
        health: URL of its health check; empty skips the check.
        seconds: Timeout for it to become healthy.

    """

    restart: str = ""
    stop: str = ""
    health: str = ""
    seconds: float = 60.0

    def restart_and_wait(self, about: Mapping[str, Any]) -> str:
        """Restart the service and wait until it answers as this bundle; return the reason of a failure, else ''."""
        if not self.restart:
            return ""
        return run_command(self.restart) or self._wait_healthy(about)

    def stop_and_wait(self) -> str:
        """Stop the service; return the reason of a failure, else ''."""
        return run_command(self.stop) if self.stop else ""

    def _wait_healthy(self, about: Mapping[str, Any]) -> str:
        if not self.health:
            return ""
        end, good, reason = time.monotonic() + self.seconds, 0, ""
        while time.monotonic() < end:
            reason = unhealthy(self.health, about)
            good = 0 if reason else good + 1
            if good == STEADY:
                return ""
            time.sleep(PAUSE)
        return f"not healthy for {self.seconds:g} seconds: {reason or 'it answered too late'}"


def run_command(command: str) -> str:
    """Run a command; return the reason of a failure, else ''."""
    try:
        process = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{command!r} failed ({error})"
    return f"{command!r} failed ({process.stderr.strip()[-500:] or process.returncode})" if process.returncode else ""


def unhealthy(url: str, about: Mapping[str, Any]) -> str:
    """Return '' if the service at a URL is healthy and serves this bundle, else the reason."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the operator gives the URL
            fields = json.loads(response.read(65_536))
            different = [name for name in NAMES if fields[name] != about[name]]
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answers with status {error.code}"
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{getattr(error, 'reason', error)}"
    return f"it serves another {' and '.join(different)}" if different else ""
