"""Polling of SageMaker's long-running operations, with progress in the log."""

import logging
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from pokeflow import PokeflowError

log = logging.getLogger("pokeflow")
PATIENCE = 3600.0
FIRST, GROWS, LONGEST = 0.2, 1.5, 10.0
"""First polling interval in seconds, the factor by which it grows, and its maximum in seconds."""
SAY_EVERY = 30.0

Row = Mapping[str, Any]


def until_settled(
    look: Callable[[], Row | None], key: str, moving: Container[str], what: str, patience: float = PATIENCE
) -> Row | None:
    """Poll until the status is none of ``moving`` and return the description, or None if the resource is gone.

    An interrupted wait loses nothing: the operation continues at AWS, and the same command waits for it again.

    Args:
        look: returns the current description, or None if the resource does not exist.
        key: the description's key of the status.
        moving: the statuses of an operation in progress.
        what: the resource, for messages.
        patience: timeout in seconds.

    Raises:
        PokeflowError: on timeout.

    """
    began, pause, said, due = time.monotonic(), FIRST, "", 0.0
    while True:
        found = look()
        if found is None or found[key] not in moving:
            return found
        waited = time.monotonic() - began
        if found[key] != said or waited >= due:
            log.info("  %s: %s, %.0f s", what, found[key], waited)
            said, due = found[key], waited + SAY_EVERY
        if waited > patience:
            raise PokeflowError(
                f"{what}: still {found[key]} after {waited:,.0f} s. It goes on; run this again to wait for it."
            )
        time.sleep(pause)
        pause = min(pause * GROWS, LONGEST)
