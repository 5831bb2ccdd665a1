"""What an MLflow store holds, whichever store it is: two of these compare as equal where nothing was lost."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pokeflow_mlflow.migrate.files import Files

LARGEST = 1.7976931348623157e308
"""What SQL stores keep for infinity."""


class Point(NamedTuple):
    """One value of a metric: milliseconds since 1970, step, and the value as text, so that NaN equals itself."""

    time: int
    step: int
    value: str


def point(time: int, step: int, value: float) -> Point:
    """A point as it is compared."""
    return Point(time, step, repr(math.copysign(LARGEST, value) if math.isinf(value) else float(value)))


class Score(NamedTuple):
    """One value of a metric of a logged model, in a run, perhaps on a data set."""

    run: str
    key: str
    point: Point
    dataset: str = ""
    digest: str = ""


class Dataset(NamedTuple):
    """What a run read."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str = ""
    profile: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment without its runs."""

    id: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run, whole. ``start`` and ``end`` are milliseconds since 1970; ``inputs`` and ``outputs`` name logged models.

    ``place`` is its artifact URI as the store has it.
    """

    id: str
    experiment: str
    name: str
    status: str
    user: str
    start: int | None
    end: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Mapping[str, frozenset[Point]]
    datasets: frozenset[Dataset]
    inputs: frozenset[str]
    outputs: frozenset[tuple[str, int]]
    place: str
    files: Files


@dataclass(frozen=True, slots=True)
class Model:
    """A logged model; ``run`` made it."""

    id: str
    experiment: str
    name: str
    run: str
    type: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    scores: frozenset[Score]
    place: str
    files: Files


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model. ``source`` is where its files lie; ``run`` and ``model`` made it."""

    number: int
    source: str
    run: str
    model: str
    description: str
    stage: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model with its versions in order, and its aliases with the version each stands for."""

    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    versions: tuple[Version, ...]


class Reading(Protocol):
    """A store that is read. What cannot be read is in ``problems``; what is left out on purpose in ``left``."""

    left: list[tuple[str, str]]
    problems: list[tuple[str, str]]

    @property
    def uri(self) -> str:
        """Its address."""
        ...

    def require_answer(self) -> None:
        """PokeflowError where it is away."""
        ...

    def experiments(self) -> list[Experiment]:
        """Those that are not deleted."""
        ...

    def runs(self, experiment: Experiment) -> list[str]:
        """Ids of the runs that are not deleted."""
        ...

    def run(self, experiment: Experiment, run_id: str) -> Run:
        """A run, whole; PokeflowError where it cannot be read."""
        ...

    def models(self, experiment: Experiment) -> list[Model]:
        """The logged models of an experiment."""
        ...

    def registered_models(self) -> Iterable[RegisteredModel]:
        """The registered models."""
        ...

    def traces(self, experiment: Experiment) -> int:
        """How many traces it has."""
        ...
