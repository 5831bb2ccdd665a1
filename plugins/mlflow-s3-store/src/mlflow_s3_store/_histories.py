"""The history of a metric in the bucket: a file that only ever grows, whoever writes to it."""

import random
import time
from collections.abc import Iterable

from mlflow_s3_store._layout import Place
from mlflow_s3_store._replica import ATTEMPTS, Replica
from mlflow_s3_store._working_copy import Mark, Point
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Conflict, Missing

LARGEST = 2**63
"""Above what SQLite holds."""


def publish_history(replica: Replica, mark: Mark, where: Place) -> Mark:
    """Write the history of a metric: what others added since is taken over first, so that it only ever grows."""
    copy, key = replica.copy, where.part("metrics", mark.part)
    for attempt in range(ATTEMPTS):
        etag, known = copy.histories(mark.id).get(mark.part, ("", 0))
        points = copy.points(mark.id, mark.part)
        if len(points) > known:
            try:
                etag = replica.objects.write(key, format_points(points), match=etag or ABSENT)
            except Conflict:
                pull_history(replica, mark.id, mark.part, where)
                time.sleep(random.random() * 0.02 * min(attempt, 10))  # noqa: S311 - no secret is drawn
                continue
            with copy.importing() as database:
                copy.remember_history(database, mark.id, mark.part, etag, len(points))
        return mark
    raise PokeflowError(f"{replica.uri}/{key}: is written by others all the time. It is tried again.")


def pull_history(replica: Replica, run: str, metric: str, where: Place) -> None:
    """Take over the points of a metric's history that others added."""
    key = where.part("metrics", metric)
    try:
        data, etag = replica.objects.read(key)
    except Missing:
        data, etag = b"", ""
    points = parse_points(data, f"{replica.uri}/{key}")
    with replica.copy.importing() as database:
        replica.copy.add_points(database, run, metric, points)
        replica.copy.remember_history(database, run, metric, etag, len(points))


def format_points(points: Iterable[Point]) -> bytes:
    """Return a history as text: a line a point, in MLflow's own order of milliseconds, value and step."""
    return "".join(
        f"{time} {'nan' if is_nan else repr(value)} {step}\n" for time, value, step, is_nan in points
    ).encode()


def parse_points(data: bytes, where: str) -> list[Point]:
    """Read the points that ``format_points`` wrote; PokeflowError where it is no such text."""
    points = set()
    try:
        for line in data.decode().splitlines():
            moment, value, *step = line.split()
            number = float(value)
            is_nan = number != number  # noqa: PLR0124 - that is what NaN is
            when, at = int(moment), int(step[0]) if step else 0
            if not (-LARGEST <= when < LARGEST and -LARGEST <= at < LARGEST):
                raise ValueError(f"{line[:40]!r} is out of all bounds")
            points.add((when, 0.0 if is_nan else number, at, int(is_nan)))
    except (ValueError, OverflowError) as error:
        raise PokeflowError(f"{where}: is no history of a metric ({error}).") from None
    return sorted(points, key=lambda p: (p[2], p[0], p[1]))
