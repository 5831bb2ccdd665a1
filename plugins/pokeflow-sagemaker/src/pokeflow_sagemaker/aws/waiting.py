"""Polling of SageMaker's long-running operations, with progress in the log."""

import logging
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from pokeflow import PokeflowError

log = logging.getLogger("pokeflow")
TIMEOUT = 3600.0
FIRST_INTERVAL, INTERVAL_FACTOR, MAX_INTERVAL = 0.2, 1.5, 10.0
"""First polling interval in seconds, the factor by which it grows, and its maximum in seconds."""
SAY_EVERY = 30.0

Row = Mapping[str, Any]


def until_settled(
    look: Callable[[], Row | None], key: str, moving: Container[str], resource: str, patience: float = TIMEOUT
) -> Row | None:
    """Poll while the status is one of ``moving``; return the description, or None if the resource is gone.

    An interrupted wait loses nothing: the operation continues at AWS, and the same command waits for it again.

    Args:
        look: Returns the current description, or None if the resource does not exist.
        key: The description's key of the status.
        moving: The statuses of an operation in progress.
        resource: The resource, for messages.
        patience: Timeout in seconds.

    Raises:
        PokeflowError: On timeout.

    """
    began, pause, logged, due = time.monotonic(), FIRST_INTERVAL, "", 0.0
    while True:
        description = look()
        if description is None or description[key] not in moving:
            return description
        elapsed = time.monotonic() - began
        if description[key] != logged or elapsed >= due:
            log.info("  %s: %s, %.0f s", resource, description[key], elapsed)
            logged, due = description[key], elapsed + SAY_EVERY
        if elapsed > patience:
            raise PokeflowError(
                f"{resource}: still {description[key]} after {elapsed:,.0f} s. It continues at AWS; "
                "run the same command again to wait."
            )
        time.sleep(pause)
        pause = min(pause * INTERVAL_FACTOR, MAX_INTERVAL)
