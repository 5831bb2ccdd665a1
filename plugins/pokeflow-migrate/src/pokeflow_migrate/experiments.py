"""Migration of experiments to the tracking store: the plan's ``mlflow`` section is handled by the plugin of that name.

A plugin supports a tracking system by an entry point in the group ``pokeflow_migrate.experiments``: the name of the
plan's section → a function with the signature of ``OpenMigration``.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow_migrate.plan import Plan, Runs
from pokeflow_migrate.report import Row

GROUP, NAME = "pokeflow_migrate.experiments", "mlflow"
URI, ENDPOINT, REGION = "uri", "endpoint", "region"
"""Parameters of the configuration's ``tracking`` that locate its store."""


class ReportRow(Protocol):
    """One run, model or version: source, target, size of artifacts in bytes, action, verification method, note."""

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says what each is
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def done(self) -> str: ...  # noqa: D102
    @property
    def verified(self) -> str: ...  # noqa: D102
    @property
    def note(self) -> str: ...  # noqa: D102


class Report(Protocol):
    """Result of a migration of experiments.

    ``source`` and ``target`` are addresses without passwords. ``counts`` maps each kind of object to its number in the
    source and in the target. ``left`` lists skipped items, ``problems`` items that could not be migrated, each with the
    reason.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says what each is
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def rows(self) -> Sequence[ReportRow]: ...  # noqa: D102
    @property
    def counts(self) -> Mapping[str, tuple[int, int]]: ...  # noqa: D102
    @property
    def left(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102
    @property
    def problems(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102


class Migration(Protocol):
    """Migration of the experiments of one source to one destination."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Return (argument, message) pairs for invalid arguments; raise a PokeflowError if the source is unreadable."""

    def run(self, work: Path, *, dry_run: bool) -> Report:
        """Migrate what the destination does not have yet; after a kill, the same call completes the migration.

        Args:
            work: Empty folder for temporary files.
            dry_run: Report what would be migrated, without writing anything.

        """


class OpenMigration(Protocol):
    """Function that an entry point of the group refers to."""

    def __call__(
        self,
        source: str,
        destination: str,
        *,
        base: Path,
        experiments: Mapping[str, str | None],
        artifacts: Mapping[str, str],
        source_endpoint: str | None,
        source_region: str | None,
        endpoint: str | None,
        region: str | None,
    ) -> Migration:
        """Return a migration, without reading anything yet.

        Args:
            source: Store of the experiments: an address, or a folder relative to ``base``.
            destination: Address of the tracking store.
            base: Folder of the plan.
            experiments: New names by old id or name; None leaves an experiment out.
            artifacts: New prefixes of artifact addresses by their old prefixes.
            source_endpoint: S3 server of the source.
            source_region: Region of the source.
            endpoint: S3 server of the destination.
            region: Region of the destination.

        """


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the plan, ready to be migrated."""

    migration: Migration
    dry_run: bool


@dataclass(frozen=True, slots=True)
class MigratedExperiments:
    """Result of migrating one entry; ``counts`` maps each kind of object to its number in source and target."""

    source: str
    target: str
    rows: tuple[Row, ...]
    counts: Mapping[str, tuple[int, int]]
    left: tuple[tuple[str, str], ...]
    problems: tuple[Fault, ...]


def entries(
    plan: Plan, base: Path, tracking: Mapping[str, Any], faults: list[Fault], *, dry_run: bool
) -> Iterator[Entry]:
    """Yield the valid entries of the plan; the faults of the others are added to ``faults``.

    Args:
        plan: Plan of the migration.
        base: Folder of the plan.
        tracking: Parameters of the configuration's tracking store.
        faults: List to which faults are added.
        dry_run: The entries must not write anything.

    Raises:
        ConfigError: A source cannot be read.
        PokeflowError: The plugin for experiments cannot be loaded.

    """
    if not plan.mlflow:
        return
    open_migration = _load_open_migration(faults)
    if open_migration is None:
        return
    if tracking.get(URI) is None:
        faults.append(Fault(NAME, "no tracking store is configured for the experiments. Set tracking=mlflow."))
        return
    for i, runs in enumerate(plan.mlflow):
        location = f"{NAME}[{i}]"
        migration = _open(open_migration, runs, base, tracking)
        errors = _check(migration, location)
        names = {"source": f"{location}.from", "destination": f"tracking.{URI}"}
        faults += [Fault(names.get(key, f"{location}.{key}"), message) for key, message in errors]
        if not errors:
            yield Entry(migration, dry_run)


def _load_open_migration(faults: list[Fault]) -> OpenMigration | None:
    installed = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    entry = installed.get(NAME)
    if entry is None:
        faults.append(unknown(NAME, "plugin that migrates experiments of", NAME, installed, "Install pokeflow-mlflow."))
        return None
    try:
        open_migration: OpenMigration = entry.load()
    except (ImportError, AttributeError) as error:
        raise PokeflowError(
            f"{entry.value}, which migrates experiments, cannot be loaded: {error}. Reinstall its distribution."
        ) from error
    return open_migration


def _open(open_migration: OpenMigration, runs: Runs, base: Path, tracking: Mapping[str, Any]) -> Migration:
    return open_migration(
        runs.at,
        tracking[URI],
        base=base.absolute(),
        experiments=runs.experiments,
        artifacts=runs.artifacts,
        source_endpoint=runs.endpoint,
        source_region=runs.region,
        endpoint=tracking.get(ENDPOINT),
        region=tracking.get(REGION),
    )


def _check(migration: Migration, location: str) -> list[tuple[str, str]]:
    try:
        return list(migration.check())
    except ConfigError:
        raise
    except PokeflowError as error:
        raise ConfigError([Fault(f"{location}.from", str(error))]) from error


def migrate_entry(entry: Entry, folder: Path | None) -> MigratedExperiments:
    """Migrate an entry, with temporary files in ``folder``, or in a new temporary folder if it is None."""
    with _temporary_folder(folder) as work:
        report = entry.migration.run(work, dry_run=entry.dry_run)
    return MigratedExperiments(
        source=report.source,
        target=report.target,
        rows=tuple(
            Row(r.source, r.target, r.size, "", "", r.done, verified=r.verified, note=r.note) for r in report.rows
        ),
        counts=dict(report.counts),
        left=tuple(report.left),
        problems=tuple(Fault(location, text) for location, text in report.problems),
    )


@contextmanager
def _temporary_folder(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with TemporaryDirectory(prefix="pokeflow-") as temporary:
            yield Path(temporary)
        return
    # Files left by a kill are not needed: the target alone shows what has been migrated.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
