"""Environment variables that the stores read."""

import logging
import os

log = logging.getLogger(__package__)
CACHE = "CACHE"
"""The folder of the working copies."""
FLUSH_SECONDS = "FLUSH_SECONDS"
"""Seconds between two checks for unpublished changes; 5 if it is not set."""
FRESH_SECONDS = "FRESH_SECONDS"
"""Seconds for which data from the bucket count as fresh; 2 if it is not set."""
PREFIX, FORMER = "MLFLOW_S3_STORE_", "POKEFLOW_MLFLOW_"
"""Prefix of the environment variables, and the prefix of earlier versions, read if the first is not set."""


def variable(name: str) -> str:
    """Return the name of the environment variable of a setting."""
    return f"{PREFIX}{name}"


def value(name: str) -> str:
    """Return the value of a setting in the environment; "" if it is not set."""
    return os.environ.get(variable(name)) or os.environ.get(f"{FORMER}{name}") or ""


def seconds(name: str, default: float) -> float:
    """Return a setting in seconds; if it is no number from 0 to below 1e6, log a warning and return the default."""
    text = value(name)
    try:
        number = float(text or default)
        if 0 <= number < 1e6:
            return number
    except ValueError:
        pass
    log.warning("%s: %r is not a valid number of seconds; using %g", variable(name), text, default)
    return default
