"""Comparison of an entity as it should be with the entity as it is: losses, and changes made since.

Data are lost if the target lacks them, or has another value that must not change there. Values that people
may change after a migration (tags, descriptions, names) count as lost only if they are missing or an
earlier copy is incomplete.
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
    changed: list[str] = field(default_factory=list)

    def compare_value(self, label: str, expected: Any, actual: Any) -> None:
        """Compare a value that must not change; skip a value that the source does not know."""
        if expected not in (None, "") and expected != actual:
            self.lost.append(f"{label} is {_short(actual)} in the target, but {_short(expected)} in the source")

    def compare_editable(self, label: str, expected: Any, actual: Any, *, incomplete: bool) -> None:
        """Compare a value that people may change.

        A difference is a loss if the entity was copied only in part or the target has no value.

        Args:
            label: Name of the value in the sentence about a difference.
            expected: The source's value.
            actual: The target's value.
            incomplete: True if the entity was copied only in part.

        """
        if expected not in (None, "") and expected != actual:
            (self.lost if incomplete or actual in (None, "") else self.changed).append(
                f"{label} is {_short(actual)} in the target, but {_short(expected)} in the source"
            )

    def compare_pairs(
        self, label: str, expected: Mapping[str, Any], actual: Mapping[str, Any], *, incomplete: bool = True
    ) -> None:
        """Compare named values.

        Args:
            label: Kind of the values in the sentence about a difference.
            expected: The source's values by name.
            actual: The target's values by name.
            incomplete: False if people may have changed the target's values since.

        """
        for key, value in expected.items():
            if key not in actual:
                self.lost.append(f"{label} {key!r} is missing")
            elif actual[key] != value:
                self.compare_editable(f"{label} {key!r}", value, actual[key], incomplete=incomplete)

    def compare_members(self, label: str, expected: Set[Any], actual: Set[Any]) -> None:
        """Compare two sets; members that are missing in the target are lost."""
        if missing := expected - actual:
            first = _short(min(missing, key=repr))
            self.lost.append(f"{label}: {len(missing):,} of {len(expected):,} are missing, such as {first}")


def runs(
    expected: Run, actual: Run, files: Mapping[str, int], actual_files: Mapping[str, int], *, incomplete: bool
) -> Differences:
    """Compare a run as it should be with the run as it is.

    Args:
        expected: The run as it should be.
        actual: The run as it is.
        files: Sizes of its artifacts as they should be, by path.
        actual_files: Sizes of its artifacts as they are, by path.
        incomplete: True if the run was copied only in part.

    """
    differences = Differences()
    differences.compare_editable("name", expected.name, actual.name, incomplete=incomplete)
    differences.compare_editable("status", expected.status, actual.status, incomplete=incomplete)
    differences.compare_value("start", expected.start, actual.start)
    differences.compare_editable("end", expected.end, actual.end, incomplete=incomplete)
    differences.compare_value("user", expected.user, actual.user)
    differences.compare_pairs("param", expected.params, actual.params)
    differences.compare_pairs("tag", expected.tags, actual.tags, incomplete=incomplete)
    for key, points in expected.points.items():
        differences.compare_members(f"points of metric {key!r}", points, actual.points.get(key, frozenset()))
    differences.compare_members("data sets", expected.datasets, actual.datasets)
    differences.compare_members("models read", expected.inputs, actual.inputs)
    differences.compare_members("models produced", expected.outputs, actual.outputs)
    differences.compare_pairs("size of artifact", files, actual_files)
    return differences


def models(
    expected: Model, actual: Model, files: Mapping[str, int], actual_files: Mapping[str, int], *, incomplete: bool
) -> Differences:
    """Compare a logged model as it should be with the model as it is; the arguments are those of ``runs``."""
    differences = Differences()
    differences.compare_value("name", expected.name, actual.name)
    differences.compare_value("run", expected.run, actual.run)
    differences.compare_value("type", expected.type, actual.type)
    differences.compare_editable("status", expected.status, actual.status, incomplete=incomplete)
    differences.compare_pairs("param", expected.params, actual.params)
    differences.compare_pairs("tag", expected.tags, actual.tags, incomplete=incomplete)
    differences.compare_members("figures", expected.scores, actual.scores)
    differences.compare_pairs("size of artifact", files, actual_files)
    return differences


def versions(expected: Version, actual: Version) -> Differences:
    """Compare a version as it should be with the version as it is."""
    differences = Differences()
    differences.compare_value("source", expected.source, actual.source)
    differences.compare_value("run", expected.run, actual.run)
    differences.compare_editable("description", expected.description, actual.description, incomplete=False)
    differences.compare_editable("stage", expected.stage, actual.stage, incomplete=False)
    differences.compare_pairs("tag", expected.tags, actual.tags, incomplete=False)
    return differences


def count_run(run: Run, files: Mapping[str, int], like: Run) -> Counter[str]:
    """Count the contents of a run, without the tags that the migration or the store added.

    Tags that a store adds are counted if ``like``, the run of the source, has them too.
    """
    added = {key for key in run.tags if key.startswith(OWN) or (key in BY_STORE and key not in like.tags)}
    return Counter(
        {
            "runs": 1,
            "params": len(run.params),
            "tags": len(run.tags.keys() - added),
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


def extras(source: Counter[str], target: Counter[str]) -> Iterator[str]:
    """Yield a sentence for every count that is higher in the target: these were added there since."""
    yield from (
        f"{target[key] - source[key]:,} more {key} in the target" for key in target if target[key] > source[key]
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
