"""Faults of the test cloud on demand, and the record of its calls."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MUTATING = ("Create", "Update", "Delete", "Put", "Add", "Start", "Stop", "Register", "Remove", "Attach", "Detach")
S3_MUTATING = ("CopyObject", "CompleteMultipartUpload", "PUT ?", "DELETE ?", "POST ?", "UploadPart")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Faults of AWS's services to inject (those of S3 are ``s3_double.Faults``), and durations.

    ``throttling``: share of calls that get ThrottlingException before anything is applied; ``internal``: share that
    get InternalFailure with status 500; ``lost``: share whose connection is closed after the call was applied;
    ``only``: operations that may fail (none: all); ``times``: total number of faults. ``expired``: every call, of S3
    too, gets an expired token. ``denied``: operations that get AccessDeniedException. ``new_roles``: number of calls
    for which an existing role cannot be assumed yet, as in its first seconds. ``no_tags``: addresses of images that
    are in no repository. ``out_of_memory``: instance types whose containers the kernel kills at their first line of
    output. ``limited``: instance types that get ResourceLimitExceeded. ``capacity``: instance types whose jobs fail
    with CapacityError, ``capacity_times`` of them (None: unlimited). ``fail``: names of endpoints, transform jobs and
    packages that fail. ``latency``: seconds before every answer.

    ``starting``: seconds that a job waits for its instances; ``becoming``: seconds until endpoints and the like are in
    service; ``grace``: seconds between SIGTERM and SIGKILL, 120 in AWS; ``sync``: seconds between uploads of
    checkpoints.
    """

    throttling: float = 0.0
    internal: float = 0.0
    lost: float = 0.0
    only: tuple[str, ...] = ()
    times: int | None = None
    expired: bool = False
    denied: tuple[str, ...] = ()
    new_roles: int = 0
    no_tags: tuple[str, ...] = ()
    out_of_memory: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    capacity: tuple[str, ...] = ()
    capacity_times: int | None = None
    fail: tuple[str, ...] = ()
    latency: float = 0.0
    starting: float = 0.0
    becoming: float = 0.2
    grace: float = 5.0
    sync: float = 0.5
    seed: int = 0


@dataclass(slots=True)
class Happened:
    """The calls since the last reset, each with service, operation, status, error code, request and caller."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def mutating(self) -> Counter[str]:
        """Count the applied calls of each changing operation."""
        return Counter(
            call["operation"] for call in self.calls if call["status"] < 400 and call["operation"].startswith(MUTATING)
        )


class Dice:
    """Random draws of the calls that fail; the same seed gives the same draws."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble, self.left, self.random = trouble, trouble.times, random.Random(trouble.seed)
        self.capacity, self.new_roles = trouble.capacity_times, trouble.new_roles

    def draw(self, operation: str) -> str | None:
        """Draw the fault of a call: ``throttling``, ``internal``, ``lost`` or None."""
        drawn, trouble = self.random.random(), self.trouble
        if self.left == 0 or (trouble.only and operation not in trouble.only):
            return None
        for name, share in (
            *(("throttling", trouble.throttling), ("internal", trouble.internal)),
            ("lost", trouble.lost),
        ):
            if drawn < share:
                self.left = None if self.left is None else self.left - 1
                return name
            drawn -= share
        return None

    def is_role_new(self) -> bool:
        """Return whether an existing role cannot be assumed yet."""
        self.new_roles -= 1
        return self.new_roles >= 0

    def lacks(self, instance: str) -> bool:
        """Return whether no instances of this type are available now."""
        if instance not in self.trouble.capacity or self.capacity == 0:
            return False
        self.capacity = None if self.capacity is None else self.capacity - 1
        return True
