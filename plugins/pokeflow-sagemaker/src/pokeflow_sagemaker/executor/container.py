"""Entry point in the container: starts ``pokeflow.engine.job`` once, or with torchrun once per device and instance.

It is uploaded together with the code and uses the standard library only. It replaces its own process by the job, so
that SageMaker's SIGTERM reaches the job.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ML = Path("/opt/ml")
CONFIGS = (ML / "input" / "config", ML / "config")
"""Folders of the configuration of a training job and of a processing job."""
PORT = 29_400


def main(args: list[str]) -> None:
    """Replace this process by the job.

    Args:
        args: Path of ``task.json``; number of processes per instance or ``auto`` (one per GPU); file for the message of
            a failure; optionally the file for the verdicts of the model's gates.

    """
    task, processes, failure, *verdicts = args
    if lacking := missing(Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")):
        Path(failure).parent.mkdir(parents=True, exist_ok=True)
        message = f"the image lacks {', '.join(lacking)}, which the code requires"
        Path(failure).write_text(
            f"{message}: use an image that has them, or set container.install to true.", encoding="utf-8"
        )
        sys.exit(1)
    work = ML / "checkpoints"
    job = ["-m", "pokeflow.engine.job", task, "--executor", "sagemaker", "--root", tempfile.mkdtemp(prefix="pokeflow-")]
    job += ["--failure", failure]
    if verdicts:
        job += ["--verdicts", verdicts[0]]
    if work.is_dir():
        job += ["--work", str(work)]
    for key, name in job_environment().items():
        job += ["--environment", f"{key}={name}"]
    hosts, host = _hosts()
    if host:
        job += ["--environment", f"host={host}"]
    each = 1 if processes == "1" else devices() if processes == "auto" else int(processes)
    command = [sys.executable, "-u", *job]
    if each * len(hosts) > 1:
        spread = [f"--nnodes={len(hosts)}", f"--nproc-per-node={each}", f"--node-rank={hosts.index(host)}"]
        meet = [f"--master-addr={hosts[0]}", f"--master-port={PORT}"]
        command = [sys.executable, "-u", "-m", "torch.distributed.run", *spread, *meet, *job]
    os.execv(command[0], command)  # noqa: S606 - no shell is involved


def job_environment() -> dict[str, str]:
    """Return the job's name and ARN, from the environment (training job) or a file (processing job)."""
    config = _config("processingjobconfig.json")
    names = {
        "training_job": os.environ.get("TRAINING_JOB_NAME") or config.get("ProcessingJobName"),
        "training_job_arn": os.environ.get("TRAINING_JOB_ARN") or config.get("ProcessingJobArn"),
    }
    return {key: name for key, name in names.items() if name}


def missing(requirements: str) -> list[str]:
    """Return the requirements whose distribution is not installed here in any version."""
    absent = []
    for line in requirements.splitlines():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        try:
            metadata.distribution(name[0] if name else line)
        except metadata.PackageNotFoundError:
            absent.append(line)
    return absent


def devices() -> int:
    """Return the number of GPUs of this instance, at least 1."""
    try:
        output = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return 1
    return max(1, sum(line.startswith("GPU ") for line in output.splitlines()))


def _hosts() -> tuple[list[str], str]:
    config = _config("resourceconfig.json")
    if not config:
        return ["localhost"], "localhost"
    return sorted(config["hosts"], key=_in_order), config["current_host"]


def _in_order(host: str) -> tuple[int, str]:
    """Return a sort key: algo-2 before algo-10, and algo-1 first, since SageMaker reports that host's failure."""
    return len(host), host


def _config(name: str) -> dict[str, Any]:
    for folder in CONFIGS:
        try:
            config: dict[str, Any] = json.loads((folder / name).read_bytes())
        except OSError:
            continue
        return config
    return {}


if __name__ == "__main__":
    main(sys.argv[1:])
