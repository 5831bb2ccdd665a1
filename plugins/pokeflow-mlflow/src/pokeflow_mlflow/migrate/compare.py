"""Comparison of an entity as it should be with the entity as it is: losses, and changes made since.

Data are lost if the target lacks them, or has another value that must not change there. Values that people
may change after a migration (tags, descriptions, names) count as lost only if they are missing or the entity is half
copied.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from pokeflow_mlflow.migrate.entities import Model, Run, Version

OWN = "pokeflow.migrated."
"""Prefix of the tags that record the source of an entity."""
VERSIONS = "mlflow.modelVersions"
"""Tag that is written when a version is registered, with the version numbers of that registry."""
BY_STORE = ("mlflow.runName", "mlflow.user")
"""Tags that a store adds to a run by itself."""


@dataclass(slots=True)
class Differences:
    """Differences between two entities, one sentence each: losses, and changes made since."""

    lost: list[str] = field(default_factory=list)
    since: list[str] = field(default_factory=list)

    def compare_value(self, what: str, wanted: Any, there: Any) -> None:
        """Compare a value that must not change; skip a value that the source does not know."""
        if wanted not in (None, "") and wanted != there:
            self.lost.append(f"{what} is {_short(there)} there, and {_short(wanted)} in the source")

    def free(self, what: str, wanted: Any, there: Any, *, half: bool) -> None:
        """Compare a value that people may change.

        A difference is a loss if the entity is half copied or the target has no value.
        """
        if wanted not in (None, "") and wanted != there:
            (self.lost if half or there in (None, "") else self.since).append(
                f"{what} is {_short(there)} there, and {_short(wanted)} in the source"
            )

    def pairs(self, what: str, wanted: Mapping[str, Any], there: Mapping[str, Any], *, half: bool = True) -> None:
        """Compare named values; with ``half`` False people may have changed them."""
        for key, value in wanted.items():
            if key not in there:
                self.lost.append(f"{what} {key!r} is missing")
            elif there[key] != value:
                self.free(f"{what} {key!r}", value, there[key], half=half)

    def members(self, what: str, wanted: Set[Any], there: Set[Any]) -> None:
        """Compare two sets; members that are missing in the target are lost."""
        if gone := wanted - there:
            first = _short(min(gone, key=repr))
            self.lost.append(f"{what}: {len(gone):,} of {len(wanted):,} are missing, such as {first}")


def runs(
    wanted: Run, there: Run, files: Mapping[str, int], files_there: Mapping[str, int], *, half: bool
) -> Differences:
    """Compare a run as it should be with the run as it is."""
    differences = Differences()
    differences.free("name", wanted.name, there.name, half=half)
    differences.free("status", wanted.status, there.status, half=half)
    differences.compare_value("start", wanted.start, there.start)
    differences.free("end", wanted.end, there.end, half=half)
    differences.compare_value("user", wanted.user, there.user)
    differences.pairs("param", wanted.params, there.params)
    differences.pairs("tag", wanted.tags, there.tags, half=half)
    for key, points in wanted.points.items():
        differences.members(f"points of metric {key!r}", points, there.points.get(key, frozenset()))
    differences.members("data sets", wanted.datasets, there.datasets)
    differences.members("models read", wanted.inputs, there.inputs)
    differences.members("models made", wanted.outputs, there.outputs)
    differences.pairs("size of artifact", files, files_there)
    return differences


def models(
    wanted: Model, there: Model, files: Mapping[str, int], files_there: Mapping[str, int], *, half: bool
) -> Differences:
    """Compare a logged model as it should be with the model as it is."""
    differences = Differences()
    differences.compare_value("name", wanted.name, there.name)
    differences.compare_value("run", wanted.run, there.run)
    differences.compare_value("type", wanted.type, there.type)
    differences.free("status", wanted.status, there.status, half=half)
    differences.pairs("param", wanted.params, there.params)
    differences.pairs("tag", wanted.tags, there.tags, half=half)
    differences.members("figures", wanted.scores, there.scores)
    differences.pairs("size of artifact", files, files_there)
    return differences


def versions(wanted: Version, there: Version) -> Differences:
    """Compare a version as it should be with the version as it is."""
    differences = Differences()
    differences.compare_value("source", wanted.source, there.source)
    differences.compare_value("run", wanted.run, there.run)
    differences.free("description", wanted.description, there.description, half=False)
    differences.free("stage", wanted.stage, there.stage, half=False)
    differences.pairs("tag", wanted.tags, there.tags, half=False)
    return differences


def count_run(run: Run, files: Mapping[str, int], like: Run) -> Counter[str]:
    """Count the contents of a run, without the tags that the migration or the store added.

    Tags that a store adds are counted if ``like``, the run of the source, has them too.
    """
    own = {key for key in run.tags if key.startswith(OWN) or (key in BY_STORE and key not in like.tags)}
    return Counter(
        {
            "runs": 1,
            "params": len(run.params),
            "tags": len(run.tags.keys() - own),
            "metrics": len(run.points),
            "metric points": sum(map(len, run.points.values())),
            "data sets": len(run.datasets),
            "artifacts": len(files),
            "artifact bytes": sum(files.values()),
        }
    )


def count_model(model: Model, files: Mapping[str, int]) -> Counter[str]:
    """Count the contents of a logged model."""
    return Counter(
        {
            "logged models": 1,
            "logged model params": len(model.params),
            "logged model tags": sum(not key.startswith(OWN) and key != VERSIONS for key in model.tags),
            "logged model figures": len(model.scores),
            "artifacts": len(files),
            "artifact bytes": sum(files.values()),
        }
    )


def extras(of: Counter[str], there: Counter[str]) -> Iterator[str]:
    """Yield a sentence for every count that is higher in the target: these were added there since."""
    yield from (f"{there[key] - of[key]:,} more {key} there" for key in there if there[key] > of[key])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
