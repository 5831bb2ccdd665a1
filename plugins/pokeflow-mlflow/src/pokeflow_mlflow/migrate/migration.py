"""Migration of everything in one MLflow store into another, and the comparison of both."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pokeflow import PokeflowError, progress
from pokeflow_mlflow.address import database, faults, redact
from pokeflow_mlflow.connection import Connection, connect
from pokeflow_mlflow.migrate import compare, registry, sources
from pokeflow_mlflow.migrate.copying import FROM, ID, Copier
from pokeflow_mlflow.migrate.entities import Experiment, SourceStore
from pokeflow_mlflow.migrate.files import ArtifactResolver, local
from pokeflow_mlflow.migrate.report import Report, Row
from pokeflow_mlflow.migrate.store import Store

DEFAULT = "Default"
"""The experiment that every MLflow store has; it is skipped if it is empty."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration of one store's experiments into another store.

    Attributes:
        source: A folder, ``sqlite:///…``, ``http(s)://…`` or ``s3://…``; it is never written to.
        destination: The URI of the store to copy into.
        base: The folder that relative paths of sources refer to.
        experiments: New names by id or name; None leaves an experiment out.
        artifacts: New beginnings of artifact URIs, by their old beginnings.
        source_endpoint: The endpoint of the source's S3 server, if it is not AWS's.
        source_region: The region of the source.
        endpoint: The endpoint of the destination's S3 server, if it is not AWS's.
        region: The region of the destination.

    """

    source: str
    destination: str
    base: Path = Path()
    experiments: Mapping[str, str | None] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    source_endpoint: str | None = None
    source_region: str | None = None
    endpoint: str | None = None
    region: str | None = None

    @property
    def reader(self) -> sources.Source:
        """The source, ready to be opened."""
        new_prefixes = {old: str(local(new, self.base) or new) for old, new in self.artifacts.items()}
        return sources.Source(self.source, self.base, new_prefixes, self.source_endpoint, self.source_region)

    @property
    def target(self) -> str:
        """The destination's URI for display: absolute, without passwords."""
        file = database(self.destination)
        return f"sqlite:///{file.as_posix()}" if file else redact(self.destination)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (attribute, error) pairs; raise a PokeflowError if the source cannot be read."""
        yield from (("destination", fault) for fault in faults(self.destination))
        yield from ((f"experiments.{key}", "is empty") for key, name in self.experiments.items() if name == "")
        yield from sources.faults(self.reader, self.experiments)

    def run(self, work: Path, *, dry_run: bool = False) -> Report:
        """Copy everything, or, as a dry run, report what would be copied.

        After a kill at any moment, the same call completes the migration.

        Args:
            work: A folder for temporary copies.
            dry_run: Write nothing to the destination.

        """
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        report = Report(self.reader.uri, self.target)
        with tempfile.TemporaryDirectory(dir=work) as folder, self.reader.open(Path(folder)) as reading:
            experiments = _choose_experiments(self, reading)
            if dry_run:
                _report_dry_run(self, reading, experiments, report)
            else:
                with connect(self.destination, endpoint=self.endpoint, region=self.region) as connection:
                    _copy_all(self, reading, experiments, connection, Path(folder), report)
        # A store may read, and report, the same entity more than once.
        report.left = list(dict.fromkeys(report.left + reading.left))
        report.problems = list(dict.fromkeys(report.problems + reading.problems))
        return report


def _choose_experiments(migration: Migration, reading: SourceStore) -> list[tuple[Experiment, str]]:
    """Return the experiments to copy, each with its name in the target."""
    chosen = []
    for experiment in reading.experiments():
        name = migration.experiments.get(experiment.id, migration.experiments.get(experiment.name, experiment.name))
        if name is None:
            reading.left.append((f"experiment {experiment.name}", "left out by the plan"))
        elif experiment.name != DEFAULT or reading.runs(experiment) or reading.models(experiment):
            chosen.append((experiment, name))
    return chosen


def _copy_all(
    migration: Migration,
    reading: SourceStore,
    experiments: list[tuple[Experiment, str]],
    connection: Connection,
    work: Path,
    report: Report,
) -> None:
    target = Store(migration.target, connection.client, ArtifactResolver(migration.destination, Path.cwd(), {}))
    copier = Copier(migration.reader.uri, reading, target, connection, work, report)
    runs = {experiment.id: copier.begin(experiment, name) for experiment, name in experiments}
    models = {experiment.id: copier.begin_models(experiment) for experiment, _ in experiments}
    total = sum(len(runs[experiment.id]) + len(models[experiment.id]) for experiment, _ in experiments)
    with progress.bar("migrating runs", total or 1) as advance:
        for experiment, name in experiments:
            for run_id in runs[experiment.id]:
                if (experiment.id, run_id) in copier.runs:
                    copier.fill_run(experiment, run_id, copier.runs[experiment.id, run_id])
                advance(1, text=name)
            for model in models[experiment.id]:
                if model.id in copier.models:
                    copier.fill_model(experiment, model)
                advance(1, text=name)
    for registered in reading.registered_models():
        registry.copy_registered_model(copier, registered)
    for experiment, name in experiments:
        target_experiment = target.client.get_experiment_by_name(name)
        report.count(Counter(experiments=1), Counter(experiments=int(target_experiment is not None)))
        _report_traces(experiment, reading, report)
    _publish(connection, target.uri, report)


def _publish(connection: Connection, target_uri: str, report: Report) -> None:
    """Publish the changes of a store with a working copy to its bucket; report a problem if that fails."""
    synchronizer = getattr(connection.client._tracking_client.store, "synchronizer", None)
    if synchronizer is not None and not synchronizer.flusher.flush():
        report.problem(
            target_uri, "some changes are not in the bucket yet. Run the migration again when the bucket is reachable."
        )


def _report_traces(experiment: Experiment, reading: SourceStore, report: Report) -> None:
    if count := reading.traces(experiment):
        report.left.append((f"{count:,} traces of {experiment.name}", "traces are not migrated"))


def _report_dry_run(
    migration: Migration, reading: SourceStore, experiments: list[tuple[Experiment, str]], report: Report
) -> None:
    """Report what a run would copy; a destination database that does not exist is not created."""
    file, target_uri, source_uri = database(migration.destination), migration.target, migration.reader.uri
    known_runs: set[tuple[str, str]] = set()
    if file is None or file.is_file():
        with connect(migration.destination, endpoint=migration.endpoint, region=migration.region) as connection:
            target = Store(target_uri, connection.client, ArtifactResolver(migration.destination, Path.cwd(), {}))
            for experiment, name in experiments:
                if target_experiment := connection.client.get_experiment_by_name(name):
                    target_runs = target.runs_with_tag(target_experiment.experiment_id, FROM, source_uri)
                    known_runs |= {(experiment.id, run.data.tags.get(ID, "")) for run in target_runs}
    for experiment, name in experiments:
        report.in_source["experiments"] += 1
        _report_traces(experiment, reading, report)
        for run_id in reading.runs(experiment):
            try:
                source_run = reading.run(experiment, run_id)
                sizes = source_run.files.sizes()
            except PokeflowError as error:
                report.problem(f"{source_uri}: run {run_id} of {experiment.name}", str(error))
                continue
            exists = (experiment.id, run_id) in known_runs
            report.count(compare.count_run(source_run, sizes, source_run), Counter({"runs": int(exists)}))
            action = "run there already" if exists else "run to copy"
            report.rows.append(
                Row(
                    f"{source_uri}#run {run_id} of {experiment.name}",
                    f"{target_uri}#{name}",
                    sum(sizes.values()),
                    action,
                )
            )
        for model in reading.models(experiment):
            report.count(compare.count_model(model, model.files.sizes()), Counter())
    for registered in reading.registered_models():
        counts = {"registered models": 1, "versions": len(registered.versions), "aliases": len(registered.aliases)}
        report.count(Counter(counts), Counter())
