"""Experiments on their way into the tracking store: the plan's ``mlflow`` is for the plugin of that name to bring.

A plugin brings a tracking system's experiments by an entry point in the group ``pokeflow_migrate.experiments``: the
plan's word for them → a function of the form ``OpenMigration``.
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
"""Parameters of the configuration's ``tracking`` that say where its store is."""


class ReportRow(Protocol):
    """One run, model or version: where it came from and is now, bytes of artifacts, what was done, how verified."""

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
    """What a migration of experiments did.

    ``source`` and ``target`` are addresses without passwords. ``counts`` has, by what was counted, the source's number
    and the target's. ``left`` is what was left out, ``problems`` what could not be brought: each with the reason.
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
    """The experiments of one source, on their way into one destination."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Return (argument, what is wrong with it) pairs; PokeflowError where the source cannot be read."""

    def run(self, work: Path, *, dry_run: bool) -> Report:
        """Bring what is not there yet; after a kill the same call completes it. A dry run writes nothing.

        Args:
            work: an empty folder for what is needed meanwhile.
            dry_run: say what would be brought, and write nothing.

        """


class OpenMigration(Protocol):
    """What an entry point of the group names."""

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
        """Return a migration; nothing is read yet.

        Args:
            source: where experiments lie: an address, or a folder relative to ``base``.
            destination: the tracking store's address.
            base: the folder of the plan.
            experiments: other names by id or name; None leaves one out.
            artifacts: where addresses of artifacts lead now, by what they begin with.
            source_endpoint: the S3 server of the source.
            source_region: its region.
            endpoint: the S3 server of the destination.
            region: its region.

        """


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the plan, ready to be brought."""

    migration: Migration
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Brought:
    """What was brought of an entry. ``counts`` has, by what was counted, the source's number and the target's."""

    source: str
    target: str
    rows: tuple[Row, ...]
    counts: Mapping[str, tuple[int, int]]
    left: tuple[tuple[str, str], ...]
    problems: tuple[Fault, ...]


def entries(
    plan: Plan, base: Path, tracking: Mapping[str, Any], faults: list[Fault], *, dry_run: bool
) -> Iterator[Entry]:
    """Yield the plan's entries; what is wrong with one is added to ``faults``.

    Args:
        plan: the plan.
        base: its folder.
        tracking: the parameters of the configuration's tracking store.
        faults: what is wrong so far.
        dry_run: nothing is to be written.

    Raises:
        ConfigError: a source cannot be read.

    """
    if not plan.mlflow:
        return
    open_migration = _find(faults)
    if open_migration is None:
        return
    if tracking.get(URI) is None:
        faults.append(Fault(NAME, "the configuration names no tracking store to bring them into. Say tracking=…"))
        return
    for i, runs in enumerate(plan.mlflow):
        where = f"{NAME}[{i}]"
        migration = _open(open_migration, runs, base, tracking)
        found = _check(migration, where)
        names = {"source": f"{where}.from", "destination": f"tracking.{URI}"}
        faults += [Fault(names.get(key, f"{where}.{key}"), message) for key, message in found]
        if not found:
            yield Entry(migration, dry_run)


def _find(faults: list[Fault]) -> OpenMigration | None:
    installed = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    entry = installed.get(NAME)
    if entry is None:
        faults.append(unknown(NAME, "plugin that brings experiments of", NAME, installed, "Install pokeflow-mlflow."))
        return None
    try:
        found: OpenMigration = entry.load()
    except (ImportError, AttributeError) as error:
        raise PokeflowError(f"{entry.value}, which brings experiments, cannot be loaded: {error}.") from error
    return found


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


def _check(migration: Migration, where: str) -> list[tuple[str, str]]:
    try:
        return list(migration.check())
    except ConfigError:
        raise
    except PokeflowError as error:
        raise ConfigError([Fault(f"{where}.from", str(error))]) from error


def bring(entry: Entry, folder: Path | None) -> Brought:
    """Bring an entry; what is needed meanwhile lies in ``folder``, in a temporary one if it is None."""
    with _work(folder) as work:
        report = entry.migration.run(work, dry_run=entry.dry_run)
    return Brought(
        source=report.source,
        target=report.target,
        rows=tuple(
            Row(r.source, r.target, r.size, "", "", r.done, verified=r.verified, note=r.note) for r in report.rows
        ),
        counts=dict(report.counts),
        left=tuple(report.left),
        problems=tuple(Fault(where, text) for where, text in report.problems),
    )


@contextmanager
def _work(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with TemporaryDirectory(prefix="pokeflow-") as temporary:
            yield Path(temporary)
        return
    # What a kill left here is of no use: what has been brought is known from the target alone.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
