"""Copying of experiments, runs and logged models: missing ones are created, copied only in part ones completed.

A run or logged model is created together with tags that record its source, and is found by these again, so that none
is copied twice. Its last tag marks it as complete: after that only missing data are added, and none are overwritten.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pokeflow import PokeflowError
from pokeflow_mlflow.connection import Connection
from pokeflow_mlflow.migrate import compare, writing
from pokeflow_mlflow.migrate.compare import OWN, VERSIONS, Differences
from pokeflow_mlflow.migrate.entities import Experiment, Model, Run, SourceStore
from pokeflow_mlflow.migrate.report import Report, Row
from pokeflow_mlflow.migrate.store import Store

FROM, EXPERIMENT, ID, STATE, BEFORE = (f"{OWN}{word}" for word in ("from", "experiment", "id", "state", "before"))
COPYING, COMPLETE = "copying", "complete"
PARENT, HISTORY = "mlflow.parentRunId", "mlflow.log-model.history"
PROBLEMS = 20
"""Number of problems that stop the migration: so many failed entities point to one common cause."""


@dataclass(frozen=True, slots=True)
class Relocation:
    """Old and new artifact URI and id of a run or logged model, and its experiment in the source."""

    experiment: str
    old_id: str
    old: str
    new_id: str
    new: str

    def relocate(self, uri: str) -> str | None:
        """Return the new URI of something among the artifacts; None if ``uri`` is not among them."""
        old_root = self.old.rstrip("/")
        if old_root and f"{uri}/".startswith(f"{old_root}/"):
            return f"{self.new.rstrip('/')}{uri[len(old_root) :]}"
        # The same folder may be written as a path or as a URI, and a store may have been moved since.
        _, separator, suffix = uri.partition(f"/{self.old_id}/artifacts")
        return f"{self.new.rstrip('/')}{suffix}" if separator and suffix[:1] in ("", "/") else None

    def contains(self, uri: str) -> bool:
        """Return whether a URI is among these artifacts, not those of the same id in another experiment."""
        return f"{uri}/".startswith(f"{self.old.rstrip('/')}/") or f"/{self.experiment}/{self.old_id}/" in uri


@dataclass(slots=True)
class Copier:
    """A copier from one source into one target.

    Attributes:
        name: The URI of the source, as tags contain it.
        source: The store to read.
        target: The store to write to, for reading back.
        connection: The connection to the target, for writing.
        work: A folder for downloads.
        report: The report to fill.
        experiments: Ids of experiments in the target, by their ids in the source.
        runs: Ids of runs in the target, by experiment and id in the source.
        models: Ids of logged models in the target, by their ids in the source.
        locations: The locations of copied runs and logged models, by experiment and id in the source.

    """

    name: str
    source: SourceStore
    target: Store
    connection: Connection
    work: Path
    report: Report
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    locations: dict[tuple[str, str], Relocation] = field(default_factory=dict)

    def begin(self, experiment: Experiment, name: str) -> list[str]:
        """Create the experiment and its runs, still empty, unless they exist; return the ids of the source's runs."""
        client = self.connection.client
        experiment_id = self.experiments[experiment.id] = self.connection.experiment(name)
        existing_tags = self.target.client.get_experiment(experiment_id).tags
        for key, value in experiment.tags.items():
            if key not in existing_tags:
                client.set_experiment_tag(experiment_id, key, value)
            elif existing_tags[key] != value:
                self.report.left.append(
                    (f"tag {key!r} of experiment {name}", "the target has another value, which is kept")
                )
        ids = self.source.runs(experiment)
        new_ids = self._known_runs(experiment, experiment_id)
        for old in ids:
            if old not in new_ids:
                with self.reporting(f"{self.name}: run {old}"):
                    new_ids[old] = self._create(experiment, old, experiment_id)
        self.runs |= {(experiment.id, old): new for old, new in new_ids.items()}
        return ids

    def _known_runs(self, experiment: Experiment, experiment_id: str) -> dict[str, str]:
        new_ids: dict[str, str] = {}
        for run in self.target.runs_with_tag(experiment_id, FROM, self.name):
            if run.data.tags.get(EXPERIMENT) == experiment.id and (old := run.data.tags.get(ID)):
                if old in new_ids:
                    self.report.problem(
                        f"{self.name}: run {old}", f"exists twice in the target: {new_ids[old]} and {run.info.run_id}."
                    )
                new_ids.setdefault(old, run.info.run_id)
        return new_ids

    def _create(self, experiment: Experiment, old: str, experiment_id: str) -> str:
        run = self.source.run(experiment, old)
        tags = self._identity(experiment.id, old, run.tags) | ({"mlflow.user": run.user} if run.user else {})
        created = self.connection.client.create_run(experiment_id, run.start, tags, run.name or old)
        return str(created.info.run_id)

    def _identity(self, experiment: str, old: str, tags: Mapping[str, str]) -> dict[str, str]:
        """Return the tags that record the source of an entity, and its former source if it was migrated before."""
        before = {BEFORE: f"{tags[FROM]}#{tags.get(ID, '')}"} if FROM in tags else {}
        return {FROM: self.name, EXPERIMENT: experiment, ID: old, STATE: COPYING, **before}

    def begin_models(self, experiment: Experiment) -> list[Model]:
        """Create the logged models, still without files, unless they exist; return the source's models."""
        experiment_id = self.experiments[experiment.id]
        models = self.source.models(experiment)
        for model in self.target.models(Experiment(experiment_id, "")):
            if (model.tags.get(FROM), model.tags.get(EXPERIMENT)) == (self.name, experiment.id):
                self.models[model.tags.get(ID, "")] = model.id
        for model in models:
            if model.id not in self.models:
                with self.reporting(f"{self.name}: model {model.id}"):
                    expected = self.expected_model(model)
                    tags = {**expected.tags, **self._identity(experiment.id, model.id, model.tags)}
                    created = self.connection.client.create_logged_model(
                        experiment_id,
                        model.name or None,
                        expected.run or None,
                        tags,
                        dict(expected.params),
                        model.type or None,
                    )
                    self.models[model.id] = created.model_id
        return models

    def run_id(self, experiment: str, old: str) -> str:
        """Return a run's id in the target, first of this experiment, then of any; "" if the run was not copied."""
        if (experiment, old) in self.runs:
            return self.runs[experiment, old]
        return next((new for (_, source_id), new in self.runs.items() if source_id == old), "")

    def locate(self, old: str, uri: str) -> Relocation | None:
        """Return the location of the run or model with this id; of several, the one that contains ``uri``."""
        candidates = [location for (_, source_id), location in self.locations.items() if source_id == old]
        return next(
            (location for location in candidates if location.contains(uri)), candidates[0] if candidates else None
        )

    def expected_run(self, run: Run) -> Run:
        """Return a run as it should be in the target: references to other runs and to models have the ids there."""
        tags = {key: value for key, value in run.tags.items() if not key.startswith(OWN)}
        if parent := tags.get(PARENT):
            tags[PARENT] = self.run_id(run.experiment, parent) or parent
        if HISTORY in tags:
            tags[HISTORY] = tags[HISTORY].replace(run.id, self.run_id(run.experiment, run.id))
        return replace(
            run,
            tags=tags,
            inputs=frozenset(self.models[old] for old in run.inputs if old in self.models),
            outputs=frozenset((self.models[old], step) for old, step in run.outputs if old in self.models),
        )

    def expected_model(self, model: Model) -> Model:
        """Return a logged model as it should be in the target, without the scores of runs that were not copied."""
        scores = (score._replace(run=self.run_id(model.experiment, score.run)) for score in model.scores)
        return replace(
            model,
            run=self.run_id(model.experiment, model.run),
            tags={key: value for key, value in model.tags.items() if not key.startswith(OWN) and key != VERSIONS},
            scores=frozenset(score for score in scores if score.run),
        )

    def fill_run(self, experiment: Experiment, old: str, new: str) -> None:
        """Copy everything that a run lacks, read it back and compare."""
        client, label = self.connection.client, f"run {old} of {experiment.name}"
        with self.reporting(f"{self.name}: {label}"):
            source = self.source.run(experiment, old)
            expected, files = self.expected_run(source), source.files.sizes()
            self._report_links(label, source)
            actual = self.target.run(experiment, new)
            self.locations[experiment.id, old] = Relocation(
                experiment.id, old, source.artifact_uri, new, actual.artifact_uri
            )
            incomplete, actual_files = actual.tags.get(STATE) != COMPLETE, actual.files.sizes()
            differences = compare.runs(expected, actual, files, actual_files, incomplete=incomplete)
            if incomplete or differences.lost:
                writing.write_run(client, expected, actual, incomplete=incomplete)
                sides = writing.ArtifactSet(source.files, files), writing.ArtifactSet(actual.files, actual_files)
                writing.send(*sides, partial(client.log_artifact, new), self.work, incomplete=incomplete)
                writing.end(client, expected, actual)
                actual = self.target.run(experiment, new)
                actual_files = actual.files.sizes()
                differences = compare.runs(expected, actual, files, actual_files, incomplete=incomplete)
                if incomplete and not differences.lost:
                    client.set_tag(new, STATE, COMPLETE)
            counts = compare.count_run(source, files, source), compare.count_run(actual, actual_files, source)
            self._report_entity(label, f"{experiment.name}/{new}", "run", differences, counts, incomplete=incomplete)

    def fill_model(self, experiment: Experiment, source: Model) -> None:
        """Copy everything that a logged model lacks, read it back and compare."""
        client, new, label = self.connection.client, self.models[source.id], f"model {source.id} of {experiment.name}"
        with self.reporting(f"{self.name}: {label}"):
            expected, files = self.expected_model(source), source.files.sizes()
            if source.run and not expected.run:
                self.report.left.append((f"{label}: the run {source.run} that produced it", "it was not copied"))
            if dropped := len(source.scores) - len(expected.scores):
                self.report.left.append((f"{label}: {dropped:,} figures", "they belong to runs that were not copied"))
            actual = self.target.model(client.get_logged_model(new))
            self.locations[experiment.id, source.id] = Relocation(
                experiment.id, source.id, source.artifact_uri, new, actual.artifact_uri
            )
            incomplete, actual_files = actual.tags.get(STATE) != COMPLETE, actual.files.sizes()
            differences = compare.models(expected, actual, files, actual_files, incomplete=incomplete)
            if incomplete or differences.lost:
                writing.write_model(client, expected, actual)
                sides = writing.ArtifactSet(source.files, files), writing.ArtifactSet(actual.files, actual_files)
                writing.send(*sides, partial(client.log_model_artifact, new), self.work, incomplete=incomplete)
                if (end := expected.status) in ("READY", "FAILED") and actual.status != end:
                    client.finalize_logged_model(new, "READY" if end == "READY" else "FAILED")
                actual = self.target.model(client.get_logged_model(new))
                actual_files = actual.files.sizes()
                differences = compare.models(expected, actual, files, actual_files, incomplete=incomplete)
                if incomplete and not differences.lost:
                    client.set_logged_model_tags(new, {STATE: COMPLETE})
            counts = compare.count_model(source, files), compare.count_model(actual, actual_files)
            self._report_entity(label, f"{experiment.name}/{new}", "model", differences, counts, incomplete=incomplete)

    def _report_links(self, label: str, run: Run) -> None:
        parent = run.tags.get(PARENT)
        if parent and not self.run_id(run.experiment, parent):
            self.report.left.append((f"{label}: its parent {parent}", "it was not copied; the tag keeps its old id"))
        for old in sorted({*run.inputs, *(old for old, _ in run.outputs)} - self.models.keys()):
            self.report.left.append((f"{label}: its logged model {old}", "it was not copied"))

    def _report_entity(
        self,
        label: str,
        target: str,
        kind: str,
        differences: Differences,
        counts: Sequence[Counter[str]],
        *,
        incomplete: bool,
    ) -> None:
        self.report.count(*counts)
        self.report.problems += [(f"{self.name}: {label}", text) for text in differences.lost]
        action = "failed" if differences.lost else "copied" if incomplete else "there already"
        note = "; ".join([*differences.lost, *differences.changed, *compare.extras(*counts)])
        artifact_bytes = counts[0]["artifact bytes"]
        verified = ", ".join(
            f"{n:,} {counted}" for counted, n in counts[1].items() if n and not counted.endswith(("runs", "models"))
        )
        row = Row(
            f"{self.name}#{label}", f"{self.target.uri}#{target}", artifact_bytes, f"{kind} {action}", verified, note
        )
        self.report.rows.append(row)

    @contextmanager
    def reporting(self, label: str) -> Iterator[None]:
        """Report an error of one entity under its name, and continue with the others.

        Raises:
            PokeflowError: The source or the target is unreachable, or the report has ``PROBLEMS`` problems.
            MlflowException: The report has ``PROBLEMS`` problems.

        """
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (PokeflowError, MlflowException) as error:
            if isinstance(error, MlflowException):
                self.source.require_response()
                self.target.require_response()
            self.report.problem(label, str(error).partition("\n")[0])
            if len(self.report.problems) >= PROBLEMS:
                raise
