"""What goes wrong in the test cloud on demand, and what was asked of it."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MUTATING = ("Create", "Update", "Delete", "Put", "Add", "Start", "Stop", "Register", "Remove", "Attach", "Detach")
S3_MUTATING = ("CopyObject", "CompleteMultipartUpload", "PUT ?", "DELETE ?", "POST ?", "UploadPart")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with calls of AWS's services (S3's own faults are ``s3_double.Faults``), and how fast time runs.

    ``throttling``: the share of calls that are told ThrottlingException before anything is applied; ``internal``: the
    share that are told InternalFailure with status 500; ``lost``: the share whose connection is closed after it was
    applied; ``only``: the operations that may (none: all); ``times``: how many in all. ``expired``: every call, S3's as
    well, is told that its token has expired. ``denied``: operations that are told AccessDeniedException. ``new_roles``:
    calls that name a role and are told that it cannot be assumed, although it is there, as in the first seconds of a
    role. ``no_tags``: addresses of images that are in no repository. ``out_of_memory``: instance types whose containers
    the kernel kills with the first line that they print. ``limited``: instance types that are told
    ResourceLimitExceeded. ``capacity``: instance types whose jobs fail with CapacityError, ``capacity_times`` of them
    (None: without end). ``fail``: names of endpoints, transform jobs and packages that come to nothing. ``latency``:
    seconds before every answer.

    ``starting``: seconds that a job waits for its instances; ``becoming``: seconds that endpoints and the like take to
    be in service; ``grace``: seconds between SIGTERM and SIGKILL, 120 in truth; ``sync``: seconds between two looks at
    the checkpoints.
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
    """The calls since the last reset: of each its service, operation, status, error's code, request and caller."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def mutating(self) -> Counter[str]:
        """How often each operation that changes something was applied."""
        return Counter(
            call["operation"] for call in self.calls if call["status"] < 400 and call["operation"].startswith(MUTATING)
        )


class Dice:
    """Draws which call goes wrong: the same seed, the same draws."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble, self.left, self.random = trouble, trouble.times, random.Random(trouble.seed)
        self.capacity, self.new_roles = trouble.capacity_times, trouble.new_roles

    def draw(self, operation: str) -> str | None:
        """``throttling``, ``internal``, ``lost`` or None."""
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
        """Whether a role that is there cannot be assumed yet."""
        self.new_roles -= 1
        return self.new_roles >= 0

    def lacks(self, instance: str) -> bool:
        """Whether there are no instances of this type now."""
        if instance not in self.trouble.capacity or self.capacity == 0:
            return False
        self.capacity = None if self.capacity is None else self.capacity - 1
        return True
