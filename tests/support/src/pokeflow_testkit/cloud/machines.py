"""The machine of a job: the folders, files and variables that SageMaker's containers see."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import buckets
from .state import Row, State, invalid

ML = "/opt/ml"


class InputError(Exception):
    """Input that could not be fetched, with a message."""


def hosts(count: int) -> list[str]:
    """Return the names of a job's machines."""
    return [f"algo-{number}" for number in range(1, count + 1)]


def inside(ml: Path, path: str) -> Path:
    """Return the local path of a container's path below /opt/ml."""
    parts = Path(os.path.normpath(path)).parts
    if parts[:3] != ("/", "opt", "ml"):
        raise invalid(f"The local path {path} is not below {ML}.")
    return ml.joinpath(*parts[3:])


def environment(state: State, row: Row, name: str) -> dict[str, str]:
    """Return a container's variables: access to AWS with the role's temporary credentials, and the job's own."""
    return {
        "AWS_REGION": state.region,
        "AWS_DEFAULT_REGION": state.region,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{state.endpoint}/_control/credentials/{name}",
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": urlsplit(state.endpoint).hostname or "",
        **(row.get("Environment") or {}),
    }


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _fetch(state: State, uri: str, folder: Path, shard: tuple[int, int], what: str) -> None:
    if not buckets.download(state, uri, folder, shard) and shard[0] == 0:
        raise InputError(
            f'No S3 objects found under S3 URL "{uri}" given in {what}. Please ensure that the bucket exists in the '
            f"selected region ({state.region}) and that objects exist under that S3 prefix."
        )


def checkpoints(row: Row) -> tuple[str, str]:
    """Return the location of a training job's checkpoints in S3 (empty: none) and in the container."""
    config = row.get("CheckpointConfig") or {}
    return config.get("S3Uri", ""), config.get("LocalPath") or f"{ML}/checkpoints"


def prepare_training(state: State, row: Row, ml: Path, host: str, names: list[str]) -> None:
    """Fill /opt/ml of a training job: the configuration, the channels, and existing checkpoints."""
    resources = row["ResourceConfig"]
    instance = resources.get("InstanceType", "ml.m5.large")
    for folder in ("input/data", "input/config", "model", "output/data", "code"):
        (ml / folder).mkdir(parents=True, exist_ok=True)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": names}
    about = {
        "current_host": host,
        "current_instance_type": instance,
        "current_group_name": "homogeneousCluster",
        "hosts": names,
        "instance_groups": [group],
        "network_interface_name": "lo",
    }
    channels = row.get("InputDataConfig") or []
    described = {}
    for channel in channels:
        source = channel["DataSource"]["S3DataSource"]
        described[channel["ChannelName"]] = {
            "TrainingInputMode": channel.get("InputMode") or row["AlgorithmSpecification"]["TrainingInputMode"],
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
        }
    _write(ml / "input/config/resourceconfig.json", about)
    _write(ml / "input/config/inputdataconfig.json", described)
    _write(ml / "input/config/hyperparameters.json", row.get("HyperParameters") or {})
    for channel in channels:
        source = channel["DataSource"]["S3DataSource"]
        sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        shard = (names.index(host), len(names)) if sharded else (0, 1)
        _fetch(state, source["S3Uri"], ml / "input/data" / channel["ChannelName"], shard, "input data source")
    uri, local = checkpoints(row)
    if uri:
        folder = inside(ml, local)
        folder.mkdir(parents=True, exist_ok=True)
        buckets.download(state, f"{uri.rstrip('/')}/", folder)


def prepare_processing(state: State, row: Row, ml: Path, host: str, names: list[str]) -> None:
    """Fill /opt/ml of a processing job: the configuration, the inputs, the folders of the outputs."""
    (ml / "output").mkdir(parents=True, exist_ok=True)
    kept = ("Environment", "AppSpecification", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources")
    about = {name: row[name] for name in (*kept, "ProcessingJobArn", "ProcessingJobName", "RoleArn") if name in row}
    _write(ml / "config/processingjobconfig.json", about | {"StoppingCondition": row["StoppingCondition"]})
    _write(ml / "config/resourceconfig.json", {"current_host": host, "hosts": names})
    for item in row.get("ProcessingInputs") or ():
        source = item["S3Input"]
        sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        shard = (names.index(host), len(names)) if sharded else (0, 1)
        _fetch(state, source["S3Uri"], inside(ml, source["LocalPath"]), shard, f"input {item['InputName']}")
    for output in outputs(row):
        inside(ml, output["LocalPath"]).mkdir(parents=True, exist_ok=True)


def outputs(row: Row) -> list[Row]:
    """Return the outputs of a processing job that go to S3."""
    wanted = (row.get("ProcessingOutputConfig") or {}).get("Outputs") or ()
    return [output["S3Output"] for output in wanted if "S3Output" in output]


def archive(folders: list[Path]) -> bytes:
    """Return a tar.gz of the files of these folders, or no bytes if they are empty."""
    files: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            files.setdefault(file.relative_to(folder).as_posix(), file)
    if not files:
        return b""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, file in files.items():
            tar.add(file, name, recursive=False)
    return packed.getvalue()


def changed_files(folder: Path, seen: dict[str, tuple[int, int]]) -> Iterator[tuple[str, bytes]]:
    """Yield the files that changed since the last call, even if they are only partly written."""
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        try:
            about = file.stat()
            if not file.is_file() or file.is_symlink():
                continue
            name, state = file.relative_to(folder).as_posix(), (about.st_mtime_ns, about.st_size)
            if seen.get(name) == state:
                continue
            content = file.read_bytes()
        except FileNotFoundError:  # renamed in the meantime
            continue
        seen[name] = state
        yield name, content


def metrics(row: Row, lines: list[tuple[float, str]]) -> list[Row]:
    """Return the last value in a job's log of each metric that it defines."""
    values = []
    for wanted in row["AlgorithmSpecification"].get("MetricDefinitions") or ():
        for at, line in reversed(lines):
            hits = re.findall(wanted["Regex"], line)
            if hits:
                value = hits[-1] if isinstance(hits[-1], str) else hits[-1][0]
                values.append({"MetricName": wanted["Name"], "Value": float(value), "Timestamp": round(at, 3)})
                break
    return values


def failure(ml: Path, name: str = "output/failure") -> str:
    """Return the failure message that a container has written."""
    file = ml / name
    return file.read_text(errors="replace")[:1024].strip() if file.is_file() else ""
