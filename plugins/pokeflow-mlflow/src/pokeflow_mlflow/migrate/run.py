"""The backend: everything of one source, brought into the configuration's store and compared."""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

from pokeflow import PokeflowError, Result, Task, progress
from pokeflow_mlflow import MigrateParams
from pokeflow_mlflow.address import database, redact
from pokeflow_mlflow.connection import Connection, connect
from pokeflow_mlflow.migrate import compare, registry, sources
from pokeflow_mlflow.migrate.copying import FROM, ID, Copier
from pokeflow_mlflow.migrate.entities import Experiment, Reading
from pokeflow_mlflow.migrate.files import Places
from pokeflow_mlflow.migrate.report import FILE, Report, Row
from pokeflow_mlflow.migrate.store import Store

DEFAULT = "Default"
"""The experiment that every MLflow store has; empty, it is not worth telling."""


def run(task: Task) -> Result:
    """Bring one source, or, as a dry run, say what would be brought; leaves ``migration.json``.

    Facts: ``from`` and ``to``, the addresses without passwords. A kill at any moment leaves what the same task
    completes.
    """
    params: MigrateParams = task.params
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    report, to = Report(), _shown(params.uri)
    with tempfile.TemporaryDirectory(dir=task.work) as work, sources.of(params).opened(Path(work)) as reading:
        chosen = _chosen(params, reading)
        if params.dry_run:
            _dry(params, reading, chosen, report)
        else:
            with connect(params.uri, endpoint=params.endpoint, region=params.region) as connection:
                _bring(params, reading, chosen, connection, Path(work), report)
    # A store may be asked for the same more than once.
    report.left = list(dict.fromkeys(report.left + reading.left))
    report.problems = list(dict.fromkeys(report.problems + reading.problems))
    told = {"from": sources.of(params).uri, "to": to}
    (task.output / FILE).write_text(json.dumps({**told, **report.data()}, indent=1), encoding="utf-8")
    return Result(facts=told)


def _shown(uri: str) -> str:
    file = database(uri)
    return f"sqlite:///{file.as_posix()}" if file else redact(uri)


def _chosen(params: MigrateParams, reading: Reading) -> list[tuple[Experiment, str]]:
    """The experiments that are wanted, and their names in the target."""
    chosen = []
    for experiment in reading.experiments():
        name = params.experiments.get(experiment.id, params.experiments.get(experiment.name, experiment.name))
        if name is None:
            reading.left.append((f"experiment {experiment.name}", "left out by the plan"))
        elif experiment.name != DEFAULT or reading.runs(experiment) or reading.models(experiment):
            chosen.append((experiment, name))
    return chosen


def _bring(
    params: MigrateParams,
    reading: Reading,
    chosen: list[tuple[Experiment, str]],
    connection: Connection,
    work: Path,
    report: Report,
) -> None:
    target = Store(_shown(params.uri), connection.client, Places(params.uri, Path.cwd(), {}))
    copier = Copier(sources.of(params).uri, reading, target, connection, work, report)
    runs = {experiment.id: copier.begin(experiment, name) for experiment, name in chosen}
    models = {experiment.id: copier.begin_models(experiment) for experiment, _ in chosen}
    total = sum(len(runs[experiment.id]) + len(models[experiment.id]) for experiment, _ in chosen)
    with progress.bar("migrating runs", total or 1) as advance:
        for experiment, name in chosen:
            for run_id in runs[experiment.id]:
                if (experiment.id, run_id) in copier.runs:
                    copier.fill_run(experiment, run_id, copier.runs[experiment.id, run_id])
                advance(1, text=name)
            for model in models[experiment.id]:
                if model.id in copier.models:
                    copier.fill_model(experiment, model)
                advance(1, text=name)
    for registered in reading.registered():
        registry.bring(copier, registered)
    for experiment, name in chosen:
        there = target.client.get_experiment_by_name(name)
        report.count(Counter(experiments=1), Counter(experiments=int(there is not None)))
        _tell_traces(experiment, reading, report)
    _publish(connection, target.uri, report)


def _publish(connection: Connection, to: str, report: Report) -> None:
    """Have a store that works on a copy of its own put everything into its bucket before that is claimed."""
    synchronizer = getattr(connection.client._tracking_client.store, "synchronizer", None)
    if synchronizer is not None and not synchronizer.flusher.flush():
        report.problem(to, "not everything is in the bucket yet. Run it again when the bucket answers.")


def _tell_traces(experiment: Experiment, reading: Reading, report: Report) -> None:
    if count := reading.traces(experiment):
        report.left.append((f"{count:,} traces of {experiment.name}", "traces are not migrated"))


def _dry(params: MigrateParams, reading: Reading, chosen: list[tuple[Experiment, str]], report: Report) -> None:
    """What a run would bring; a database that is not there yet is not made for this."""
    file, to, own = database(params.uri), _shown(params.uri), sources.of(params).uri
    known: set[tuple[str, str]] = set()
    if file is None or file.is_file():
        with connect(params.uri, endpoint=params.endpoint, region=params.region) as connection:
            target = Store(to, connection.client, Places(params.uri, Path.cwd(), {}))
            for experiment, name in chosen:
                if there := connection.client.get_experiment_by_name(name):
                    found = target.tagged(there.experiment_id, FROM, own)
                    known |= {(experiment.id, run.data.tags.get(ID, "")) for run in found}
    for experiment, name in chosen:
        report.source["experiments"] += 1
        _tell_traces(experiment, reading, report)
        for run_id in reading.runs(experiment):
            try:
                of = reading.run(experiment, run_id)
                sizes = of.files.sizes()
            except PokeflowError as error:
                report.problem(f"{own}: run {run_id} of {experiment.name}", str(error))
                continue
            is_there = (experiment.id, run_id) in known
            report.count(compare.count_run(of, sizes, of), Counter({"runs": int(is_there)}))
            done = "run there already" if is_there else "run to copy"
            report.rows.append(
                Row(f"{own}#run {run_id} of {experiment.name}", f"{to}#{name}", sum(sizes.values()), done)
            )
        for model in reading.models(experiment):
            report.count(compare.count_model(model, model.files.sizes()), Counter())
    for registered in reading.registered():
        counts = {"registered models": 1, "versions": len(registered.versions), "aliases": len(registered.aliases)}
        report.count(Counter(counts), Counter())
