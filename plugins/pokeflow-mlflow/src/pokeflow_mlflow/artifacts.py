"""Artifacts of a task's run: files worth opening in MLflow are uploaded, all others are listed in links.json.

config.yaml, record.json, log.txt   the composed configuration, the record, the log
files/          small text files of the backend, and the distillation report
embeddings/     the embeddings that a training wrote
tensorboard/    TensorBoard's files
links.json      paths of all other files: checkpoints, networks, rows of the training steps
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import Record, progress
from pokeflow.digest import sha256
from pokeflow.types import LOG, RECORD, TELEMETRY
from pokeflow_mlflow.fields import as_json, clean
from pokeflow_mlflow.params import TrackParams
from pokeflow_mlflow.provenance import TENSORBOARD, Note
from pokeflow_vision import calibration

if TYPE_CHECKING:
    from mlflow import MlflowClient

TEXT = (".json", ".jsonl", ".md", ".txt", ".csv", ".yaml", ".yml", ".toml", ".html")
TEXT_BYTES = 1_000_000
REPORT = "distillation_report.json"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to upload: its local path, its artifact path and its size in bytes."""

    file: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Link:
    """A file that is not uploaded: its path in the task's folder, its size in bytes and its checksum."""

    path: str
    size: int
    sha256: str


def send(
    client: "MlflowClient",
    run_id: str,
    record: Record,
    folder: Path,
    uri: str | None,
    note: Note,
    params: TrackParams,
) -> None:
    """Upload the artifacts of a run; a repeated call replaces them by the same content.

    Args:
        client: The client of the tracking store.
        run_id: The run.
        record: The record of the task.
        folder: The task's folder.
        uri: The task's URI in a bucket, or None.
        note: The provenance of the task.
        params: The parameters of the stage.

    """
    uploads, links_to_list = sort(record, folder, params)
    if note.config:
        client.log_text(run_id, as_yaml(note.config), "config.yaml")
    client.log_text(run_id, as_json(record), RECORD)
    links = {
        "task": record.task,
        "digest": record.digest,
        "folder": str(folder.absolute()),
        "uri": uri,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in links_to_list],
    }
    client.log_text(run_id, json.dumps(links, indent=2, ensure_ascii=False) + "\n", "links.json")
    with progress.bar(f"tracking {record.task}", sum(upload.size for upload in uploads) or 1) as advance:
        for upload in uploads:
            _put(client, run_id, upload)
            advance(upload.size, text=upload.name)


def sort(record: Record, folder: Path, params: TrackParams) -> tuple[list[Upload], list[Link]]:
    """Return the files to upload, and the files to list in links.json."""
    uploads: list[Upload] = []
    links: list[Link] = []
    largest = params.file_mb * 1e6
    for file in record.files:
        local_path = folder / file.path
        if not local_path.is_file():
            continue  # it exists only in a bucket, or was deleted; the record lists it
        name = None
        if record.makes_model and file.path.endswith(".npy") and file.path != calibration.FILE:
            # A model's own arrays are embeddings; arrays of other tasks, and calibration sets, hold pictures.
            name = f"embeddings/{file.path}" if file.size <= largest or params.log_artifacts else None
        elif params.log_artifacts or (file.path.endswith(TEXT) and file.size <= TEXT_BYTES) or file.path == REPORT:
            # Under files/, so that no file of a backend can replace record.json.
            name = f"files/{file.path}"
        if name:
            uploads.append(Upload(local_path, name, file.size))
        else:
            links.append(Link(file.path, file.size, file.sha256))
    if (folder / LOG).is_file():
        uploads.append(Upload(folder / LOG, LOG, (folder / LOG).stat().st_size))
    for path in _files_below(folder / TELEMETRY):
        size, inside = path.stat().st_size, path.relative_to(folder).as_posix()
        if inside.startswith(f"{TENSORBOARD}/") and (size <= largest or params.log_artifacts):
            uploads.append(Upload(path, inside.removeprefix(f"{TELEMETRY}/"), size))
        else:
            links.append(Link(inside, size, sha256(path)))
    return uploads, links


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _put(client: "MlflowClient", run_id: str, upload: Upload) -> None:
    artifact_folder = upload.name.rpartition("/")[0] or None
    if not upload.name.endswith(TEXT):
        client.log_artifact(run_id, str(upload.file), artifact_folder)
        return
    text = upload.file.read_text(encoding="utf-8", errors="surrogateescape")
    redacted = without_secrets(upload.file.suffix, text)
    if upload.name == LOG and len(redacted) > TEXT_BYTES:
        cut = f"… the last {TEXT_BYTES:,} of {len(redacted):,} characters; the full log is {upload.file}\n"
        redacted = cut + redacted[-TEXT_BYTES:]
    if redacted == text:
        client.log_artifact(run_id, str(upload.file), artifact_folder)
        return
    with tempfile.TemporaryDirectory() as draft:
        file = Path(draft) / upload.file.name
        file.write_text(redacted, encoding="utf-8", errors="surrogateescape")
        client.log_artifact(run_id, str(file), artifact_folder)


def without_secrets(suffix: str, text: str) -> str:
    """Return a text file's content without secrets: values of secret keys in JSON and YAML, and credentials in URIs."""
    if suffix == ".json":
        return _redact_json(text)
    if suffix == ".jsonl":
        return "".join(map(_redact_json, text.splitlines(keepends=True)))
    if suffix in (".yaml", ".yml"):
        import yaml

        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError):
            return str(clean(text))
        return text if clean(data) == data else as_yaml(clean(data))
    return str(clean(text))


def _redact_json(text: str) -> str:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return str(clean(text))
    redacted = clean(data)
    # NaN is not equal to itself, so the data are compared as text.
    if _dump(redacted) == _dump(data):
        return text
    return _dump(redacted) + ("\n" if text.endswith("\n") else "")


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)


def as_yaml(data: Any) -> str:
    """Return plain data as YAML, in the same order and without secrets."""
    import yaml

    return str(yaml.safe_dump(clean(data), sort_keys=False, allow_unicode=True))
