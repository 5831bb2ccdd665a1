"""The state of the test cloud's SageMaker in one region, and the registry of operations."""

import copy
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .faults import Dice, Trouble

ACCOUNT = "123456789012"
Row = dict[str, Any]
"""A resource: its request and its results; an answer contains the members of the service's model."""


class AwsError(Exception):
    """An error answer: code, message and status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def invalid(message: str) -> AwsError:
    """Return SageMaker's validation error."""
    return AwsError("ValidationException", message)


@dataclass(slots=True)
class State:
    """Everything in one region. Readers and writers hold ``lock``, which moto's backends share."""

    region: str
    lock: Any
    endpoint: str
    dice: Dice = field(default_factory=lambda: Dice(Trouble()))
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    edges: dict[tuple[str, str], Row] = field(default_factory=dict)
    tokens: dict[tuple[str, str], tuple[Row, Row]] = field(default_factory=dict)
    running: dict[str, Any] = field(default_factory=dict)
    pending: dict[threading.Timer, Callable[[], None]] = field(default_factory=dict)
    gone: bool = False

    @property
    def trouble(self) -> Trouble:
        """The current faults."""
        return self.dice.trouble

    def of(self, kind: str) -> dict[str, Row]:
        """Return the resources of a kind, by name."""
        return self.rows.setdefault(kind, {})

    def arn(self, segment: str, name: str) -> str:
        """Return the ARN of a resource in this region."""
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{segment}/{name}"

    def later(self, seconds: float, change: Callable[[], None]) -> None:
        """Call ``change`` after a delay, unless the state is reset first."""

        def run() -> None:
            with self.lock:
                if not self.gone and self.pending.pop(timer, None):
                    change()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        self.pending[timer] = change
        timer.start()

    def settle(self) -> None:
        """Apply pending changes now; further changes that they schedule are delayed again."""
        for timer, change in list(self.pending.items()):
            timer.cancel()
            del self.pending[timer]
            change()

    def once(self, operation: str, request: Row, token: str, make: Callable[[], Row]) -> Row:
        """Answer a request with a token: the same request gets the same answer, another one is refused."""
        body = copy.deepcopy({k: v for k, v in request.items() if k != token})
        said = request.get(token)
        if said and (operation, said) in self.tokens:
            before, answer = self.tokens[operation, said]
            if before != body:
                raise invalid(f"{token} {said} was used before with other parameters.")
            return answer
        answer = make()
        if said:
            self.tokens[operation, said] = body, answer
        return answer


Handler = Callable[[State, Row], Row]
OPERATIONS: dict[str, Handler] = {}


def operation(name: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler of one of SageMaker's operations."""

    def known(handler: Handler) -> Handler:
        OPERATIONS[name] = handler
        return handler

    return known


def now() -> float:
    """Return the time in the form of SageMaker's JSON."""
    return round(time.time(), 3)


def unique(length: int = 12) -> str:
    """Return a unique text of letters and digits."""
    return uuid.uuid4().hex[:length]
