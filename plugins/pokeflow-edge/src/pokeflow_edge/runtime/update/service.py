"""The service that an update restarts and watches, as systemd or another command knows it."""

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
"""Good answers in a row that make a service healthy: the first alone could be the last."""
PAUSE = 1.0
"""Seconds between two."""
NAMES = ("model", "version", "target", "preprocessing")
"""What a service and a bundle say of themselves alike."""
PATIENCE = 120.0
"""Seconds that a command may take."""


@dataclass(frozen=True, slots=True)
class Service:
    """How the service is stopped and restarted (empty: it is not), where it answers, and how many seconds it has."""

    restart: str = ""
    stop: str = ""
    health: str = ""
    seconds: float = 60.0

    def restarted(self, about: Mapping[str, Any]) -> str:
        """Restart it and wait until it answers as this bundle; empty, or why it does not."""
        if not self.restart:
            return ""
        return commanded(self.restart) or self._steady(about)

    def stopped(self) -> str:
        """Stop it; empty, or why it does not stop."""
        return commanded(self.stop) if self.stop else ""

    def _steady(self, about: Mapping[str, Any]) -> str:
        if not self.health:
            return ""
        end, good, why = time.monotonic() + self.seconds, 0, ""
        while time.monotonic() < end:
            why = unhealthy(self.health, about)
            good = 0 if why else good + 1
            if good == STEADY:
                return ""
            time.sleep(PAUSE)
        return f"not healthy for {self.seconds:g} seconds: {why or 'it came too late'}"


def commanded(command: str) -> str:
    """Run a command; empty, or why it failed."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{command!r} failed ({error})"
    return f"{command!r} failed ({done.stderr.strip()[-500:] or done.returncode})" if done.returncode else ""


def unhealthy(url: str, about: Mapping[str, Any]) -> str:
    """Empty where what answers there is healthy and is this bundle, else why not."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - whoever runs this names it
            told = json.loads(answer.read(65_536))
            other = [name for name in NAMES if told[name] != about[name]]
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answers {error.code}"
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{getattr(error, 'reason', error)}"
    return f"another {' and '.join(other)} answers there" if other else ""
