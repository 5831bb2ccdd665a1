"""Histories of metrics in the bucket: files that only grow, even if several machines write to them."""

import random
import time
from collections.abc import Iterable

from mlflow_s3_store._layout import UnitPath
from mlflow_s3_store._replica import ATTEMPTS, Replica
from mlflow_s3_store._working_copy import Mark, Point
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, NotFoundError, PreconditionError

LARGEST = 2**63
"""The first integer that is too large for SQLite."""


def publish_history(replica: Replica, mark: Mark, path: UnitPath) -> Mark:
    """Write the history of a metric, and return its mark.

    Points that others have added since are merged first, so that the file only grows.

    Raises:
        PokeflowError: Others wrote to the file in all ``ATTEMPTS`` attempts.

    """
    copy, key = replica.copy, path.part("metrics", mark.part)
    for attempt in range(ATTEMPTS):
        etag, published_points = copy.histories(mark.id).get(mark.part, ("", 0))
        points = copy.points(mark.id, mark.part)
        if len(points) > published_points:
            try:
                etag = replica.objects.write(key, format_points(points), match=etag or ABSENT)
            except PreconditionError:
                pull_history(replica, mark.id, mark.part, path)
                time.sleep(random.random() * 0.02 * min(attempt, 10))  # noqa: S311 - no secret is drawn
                continue
            with copy.importing() as database:
                copy.remember_history(database, mark.id, mark.part, etag, len(points))
        return mark
    raise PokeflowError(f"{replica.uri}/{key}: other machines wrote to it at every attempt. It will be retried.")


def pull_history(replica: Replica, run: str, metric: str, path: UnitPath) -> None:
    """Add the points that others have published in a metric's history to the working copy.

    Args:
        replica: The replica of the tracking URI.
        run: Id of the run.
        metric: Name of the metric.
        path: Location of the run.

    """
    key = path.part("metrics", metric)
    try:
        data, etag = replica.objects.read(key)
    except NotFoundError:
        data, etag = b"", ""
    points = parse_points(data, f"{replica.uri}/{key}")
    with replica.copy.importing() as database:
        replica.copy.add_points(database, run, metric, points)
        replica.copy.remember_history(database, run, metric, etag, len(points))


def format_points(points: Iterable[Point]) -> bytes:
    """Return a history as text: one line per point, with milliseconds since 1970, value and step in MLflow's order."""
    return "".join(
        f"{time} {'nan' if is_nan else repr(value)} {step}\n" for time, value, step, is_nan in points
    ).encode()


def parse_points(data: bytes, location: str) -> list[Point]:
    """Parse the text that ``format_points`` returns; raise a PokeflowError if it is invalid."""
    points = set()
    try:
        for line in data.decode().splitlines():
            moment, value, *step = line.split()
            number = float(value)
            is_nan = number != number  # noqa: PLR0124 - that is what NaN is
            milliseconds, step_number = int(moment), int(step[0]) if step else 0
            if not (-LARGEST <= milliseconds < LARGEST and -LARGEST <= step_number < LARGEST):
                raise ValueError(f"{line[:40]!r} is out of range")
            points.add((milliseconds, 0.0 if is_nan else number, step_number, int(is_nan)))
    except (ValueError, OverflowError) as error:
        raise PokeflowError(
            f"{location}: is not a metric history ({error}). Restore an earlier version of it."
        ) from None
    return sorted(points, key=lambda p: (p[2], p[0], p[1]))
