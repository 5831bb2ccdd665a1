"""Document ``project_manifest.json``: a summary of the project, written after all other documents."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.project import Project, Receipt, producing_record, version_sort_key
from pokeflow.project import newest as newest_of
from pokeflow.project import versions as versions_of
from pokeflow.types import About, Record
from pokeflow_metadata import costs, formats, models, published
from pokeflow_metadata.fields import fact, first, first_metric, first_stated
from pokeflow_metadata.forms import project_manifest as forms
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, fill, plain

Object = dict[str, Any]

TRAINING = {
    "num_classes": "cards",
    "train_samples": "train_cards",
    "val_samples": "val_cards",
    "test_samples": "test_cards",
}
"""Fields of the training data, and the metrics of the prepare task that they are read from."""
BYTES = "size_bytes"
"""Fact of a data receipt: total size in bytes of the data that its link refers to."""
SHOWN = "calibration_dataset.npy"
"""File of a compiler that contains all pictures of the calibration."""
LINK = "link.json"
NO_DATA = "no data set is published"
NO_PROJECT = "no project is created in SageMaker, or its id is not configured"
STAGE = re.compile(r"(?:^|-)(stage\d+)$")
"""Suffix of a model's name that names its stage in an experiment."""


def build(project: Project) -> Object:
    """Build the document of a project."""
    return document(project.about, project.receipts, project.documents.get("training_history"))


def document(about: About, receipts: Iterable[Receipt], history: Mapping[str, Any] | None) -> Object:
    """Build the manifest of all that is published.

    Raises:
        PokeflowError: If a record contains a time that is not valid.

    """
    receipts = tuple(receipts)
    runs = list((history or {}).get("runs", ()))
    all_versions, newest = versions_of(receipts), newest_of(receipts, about.models)
    records = [record for receipt in receipts for record in receipt.records]
    nothing = Unknown("nothing that is published has a record")
    begun = _moments([*(record.started for record in records), *(run["started"] for run in runs)])
    end_times = _moments([*(record.finished for record in records), *(run["finished"] for run in runs)])
    manifest = fill(
        forms.ProjectManifest,
        {
            "project_name": about.name,
            "project_id": about.id or published.project_id(receipts) or Unknown(NO_PROJECT),
            "created_at": min(begun) if begun else nothing,
            "last_updated": max(end_times) if end_times else nothing,
            "version": about.version,
            "schema_version": SCHEMA_VERSION,
            "description": about.description,
            "models": {model: models.model(about, receipt, all_versions) for model, receipt in newest.items()},
            "experiments": _experiments(about, runs),
            "datasets": forms.Datasets(
                training=_training(about, receipts), calibration=_calibration(about, receipts, newest)
            ),
            "infrastructure": costs.infrastructure(about, newest),
            "cost_tracking": costs.cost_tracking(receipts),
        },
    )
    return plain(manifest)


def _moments(times: Iterable[str]) -> list[str]:
    try:
        return [formats.instant(moment) for moment in times]
    except ValueError as error:
        raise PokeflowError(f"invalid timestamp in a record ({error}). Run 'pokeflow verify'.") from error


def _experiments(about: About, runs: list[Object]) -> forms.Experiments:
    names = sorted({run["experiment"] for run in runs if run["experiment"] is not None})
    each = [_experiment(name, [run for run in runs if run["experiment"] == name]) for name in names]
    uri = about.tracking_uri or Unknown("no tracking that other machines can reach is configured")
    return fill(forms.Experiments, {"mlflow_tracking_uri": uri, "experiments": each})


def _experiment(name: str, runs: list[Object]) -> forms.Experiment:
    best: tuple[float, Object] | None = None
    for run in runs:
        accuracy = next((run["metrics"][name] for name in models.TOP1 if name in run["metrics"]), None)
        if accuracy is not None and run["run_id"] is not None and (best is None or accuracy > best[0]):
            best = accuracy, run
    stages = sorted({_stage(run) for run in runs}, key=version_sort_key)
    fields = {
        "name": name,
        "run_count": len(runs),
        "best_run_id": best[1]["run_id"] if best else Unknown("no run of it has both an accuracy and a run id"),
    }
    return fill(forms.Experiment, fields | ({"stages": stages} if len(stages) > 1 else {}))


def _stage(run: Object) -> str:
    match = STAGE.search(run["model"])
    return match[1] if match else str(run["stage"])


def _training(about: About, receipts: tuple[Receipt, ...]) -> forms.TrainingData:
    data = _data(receipts)
    values = {name: first(first_metric(data, figure)) for name, figure in TRAINING.items()}
    fields = {name: value if isinstance(value, Unknown) else int(value) for name, value in values.items()}
    return fill(
        forms.TrainingData,
        {"s3_path": _link(about, receipts, "processed"), **_because(fields, receipts), "size_gb": _size(receipts)},
    )


def _data(receipts: tuple[Receipt, ...]) -> Record | None:
    data_set = published.data(receipts)
    return data_set[1] if data_set else None


def _because(fields: Object, receipts: tuple[Receipt, ...]) -> Object:
    """Replace the reason of unknown fields by ``NO_DATA`` if no data set is published."""
    lost = None if _data(receipts) else Unknown(NO_DATA)
    return {name: lost if lost and isinstance(value, Unknown) else value for name, value in fields.items()}


def _size(receipts: tuple[Receipt, ...]) -> float | Unknown:
    """Return the data set's size in 10^9 bytes: from its receipt, else the sum of its record's files, or Unknown."""
    data_set = published.data(receipts)
    if data_set is None:
        return Unknown(NO_DATA)
    receipt, record = data_set
    size = receipt.facts.get(BYTES)
    if not isinstance(size, int) or size < 0:
        size = sum(file.size for file in record.files)
    return round(size / 1e9, 9) if size else Unknown("its size is not recorded")


def _link(about: About, receipts: tuple[Receipt, ...], kind: str) -> str | Unknown:
    """Return the S3 folder of the data link of this kind, from whichever receipt contains it, or Unknown."""
    places = [PurePosixPath(file.path) for receipt in receipts for file in receipt.files]
    folder = next((path.parent for path in places if path.name == LINK and path.parent.name == kind), None)
    return models.s3_path(about, f"{folder}/" if folder else Unknown(f"no link to {kind} data is published"))


def _calibration(about: About, receipts: tuple[Receipt, ...], newest: Mapping[str, Receipt]) -> forms.CalibrationData:
    optimized = next((receipt for receipt in newest.values() if receipt.type == "optimized"), None)
    producer, data = producing_record(optimized) if optimized else None, _data(receipts)
    facts = optimized.facts if optimized else {}
    samples = first(
        fact(producer, "calibration_images"),
        fact(data, "calibration_samples"),
        first_stated(facts, "num_samples", "calibration_images", "samples", kind=int),
    )
    size = first(fact(data, "calibration_bytes"), first_stated(facts, "size_mb", "size_bytes", kind=int))
    megabytes = size if isinstance(size, Unknown) else round(size / 1e6, 6)
    fields = _because({"num_samples": samples, "size_mb": megabytes}, receipts)
    # The file that the compiler used, if it was kept, is more accurate than the data set's reserved pictures.
    sizes = [file.size for file in optimized.files if file.source.endswith(f"/{SHOWN}")] if optimized else []
    fields |= {"size_mb": round(sizes[0] / 1e6, 6)} if sizes else {}
    return fill(forms.CalibrationData, {"s3_path": _link(about, receipts, "calibration"), **fields})
