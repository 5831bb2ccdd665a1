"""What the test cloud's SageMaker knows in one region, and the operations that know it."""

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
"""A resource: what was asked for it and what became of it; an answer shows of it what the service's model knows."""


class AwsError(Exception):
    """An answer that says no: the service's word for it and a sentence."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def invalid(message: str) -> AwsError:
    """SageMaker's favourite refusal."""
    return AwsError("ValidationException", message)


@dataclass(slots=True)
class State:
    """Everything in one region. Whoever reads or writes it holds ``lock``, which moto's backends share."""

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
        """What goes wrong at present."""
        return self.dice.trouble

    def of(self, kind: str) -> dict[str, Row]:
        """The resources of a kind, by name."""
        return self.rows.setdefault(kind, {})

    def arn(self, segment: str, name: str) -> str:
        """The address of a resource here."""
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{segment}/{name}"

    def later(self, seconds: float, change: Callable[[], None]) -> None:
        """Change something after a while, unless everything was forgotten meanwhile."""

        def run() -> None:
            with self.lock:
                if not self.gone and self.pending.pop(timer, None):
                    change()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        self.pending[timer] = change
        timer.start()

    def settle(self) -> None:
        """Let what will change after a while change now; what follows from it takes its time again."""
        for timer, change in list(self.pending.items()):
            timer.cancel()
            del self.pending[timer]
            change()

    def once(self, operation: str, asked: Row, token: str, make: Callable[[], Row]) -> Row:
        """What a token stands for: the same request again has the same answer, another one is refused."""
        request = copy.deepcopy({k: v for k, v in asked.items() if k != token})
        said = asked.get(token)
        if said and (operation, said) in self.tokens:
            before, answer = self.tokens[operation, said]
            if before != request:
                raise invalid(f"{token} {said} was used before with other parameters.")
            return answer
        answer = make()
        if said:
            self.tokens[operation, said] = request, answer
        return answer


Handler = Callable[[State, Row], Row]
OPERATIONS: dict[str, Handler] = {}


def operation(name: str) -> Callable[[Handler], Handler]:
    """Let a function answer one of SageMaker's operations."""

    def known(handler: Handler) -> Handler:
        OPERATIONS[name] = handler
        return handler

    return known


def now() -> float:
    """The time as SageMaker's JSON tells it."""
    return round(time.time(), 3)


def unique(length: int = 12) -> str:
    """Letters and digits that nothing else has."""
    return uuid.uuid4().hex[:length]
