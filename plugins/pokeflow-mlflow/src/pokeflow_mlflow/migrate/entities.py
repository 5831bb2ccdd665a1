"""Contents of any MLflow store as plain data: two entities are equal if a migration lost nothing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pokeflow_mlflow.migrate.files import Files

LARGEST = 1.7976931348623157e308
"""The value that SQL stores keep for infinity."""


class Point(NamedTuple):
    """One value of a metric: milliseconds since 1970, step, and the value as text, so that NaN equals itself."""

    time: int
    step: int
    value: str


def point(time: int, step: int, value: float) -> Point:
    """Return a point in the form to compare: infinity is replaced by the value that SQL stores keep."""
    return Point(time, step, repr(math.copysign(LARGEST, value) if math.isinf(value) else float(value)))


class Score(NamedTuple):
    """One value of a metric of a logged model, logged in a run, with or without a data set."""

    run: str
    key: str
    point: Point
    dataset: str = ""
    digest: str = ""


class Dataset(NamedTuple):
    """A data set that a run read."""

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
    """A run with all of its contents.

    Attributes:
        experiment: The id of its experiment.
        start: Milliseconds since 1970.
        end: Milliseconds since 1970.
        points: The history of every metric.
        inputs: Ids of the logged models that it read.
        outputs: Ids of the logged models that it produced, each with the step.
        artifact_uri: Its artifact URI in the store.
        files: Its artifacts.

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
    artifact_uri: str
    files: Files


@dataclass(frozen=True, slots=True)
class Model:
    """A logged model; ``run`` is the id of the run that produced it, ``artifact_uri`` its artifact URI in the store."""

    id: str
    experiment: str
    name: str
    run: str
    type: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    scores: frozenset[Score]
    artifact_uri: str
    files: Files


@dataclass(frozen=True, slots=True)
class Version:
    """A model version; ``source`` is the URI of its files, ``run`` and ``model`` identify its run and logged model."""

    number: int
    source: str
    run: str
    model: str
    description: str
    stage: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model with its versions in order, and the version number of every alias."""

    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    versions: tuple[Version, ...]


class SourceStore(Protocol):
    """Interface of a store to migrate from.

    Attributes:
        left: Data that are left out on purpose, each with the reason.
        problems: Data that cannot be read, each with the reason.

    """

    left: list[tuple[str, str]]
    problems: list[tuple[str, str]]

    @property
    def uri(self) -> str:
        """The URI of the store."""
        ...

    def require_response(self) -> None:
        """Raise a PokeflowError if the store is unreachable."""
        ...

    def experiments(self) -> list[Experiment]:
        """Return the experiments that are not deleted."""
        ...

    def runs(self, experiment: Experiment) -> list[str]:
        """Return the ids of the runs that are not deleted."""
        ...

    def run(self, experiment: Experiment, run_id: str) -> Run:
        """Return a run with all of its contents; raise a PokeflowError if it cannot be read."""
        ...

    def models(self, experiment: Experiment) -> list[Model]:
        """Return the logged models of an experiment."""
        ...

    def registered_models(self) -> Iterable[RegisteredModel]:
        """Return the registered models."""
        ...

    def traces(self, experiment: Experiment) -> int:
        """Return the number of traces of an experiment."""
        ...
