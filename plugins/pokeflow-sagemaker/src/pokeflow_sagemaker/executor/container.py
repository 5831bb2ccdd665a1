"""In the container: starts ``pokeflow.job`` once, or under torchrun once a device of every instance.

It is sent beside the code and knows the standard library only. This process becomes the job, so that SageMaker's
SIGTERM reaches it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ML = Path("/opt/ml")
CONFIG = ML / "input" / "config"
PORT = 29_400


def main(args: list[str]) -> None:
    """Replace this process by the job: ``task.json``, the number of processes or ``auto``, and where it may fail."""
    task, processes, failure = args
    work = ML / "checkpoints"
    job = ["-m", "pokeflow.job", task, "--on", "sagemaker", "--root", tempfile.mkdtemp(prefix="pokeflow-")]
    job += ["--failure", failure]
    if work.is_dir():
        job += ["--work", str(work)]
    for key, variables in NAMES.items():
        if name := next((os.environ[v] for v in variables if os.environ.get(v)), None):
            job += ["--told", f"{key}={name}"]
    hosts, me = _hosts()
    if me:
        job += ["--told", f"host={me}"]
    each = 1 if processes == "1" else devices() if processes == "auto" else int(processes)
    command = [sys.executable, "-u", *job]
    if each * len(hosts) > 1:
        spread = [f"--nnodes={len(hosts)}", f"--nproc-per-node={each}", f"--node-rank={hosts.index(me)}"]
        meet = [f"--master-addr={hosts[0]}", f"--master-port={PORT}"]
        command = [sys.executable, "-u", "-m", "torch.distributed.run", *spread, *meet, *job]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


NAMES = {
    "training_job": ("TRAINING_JOB_NAME", "PROCESSING_JOB_NAME"),
    "training_job_arn": ("TRAINING_JOB_ARN", "PROCESSING_JOB_ARN"),
}
"""What a record tells of its job, and the variables that SageMaker gives it by."""


def devices() -> int:
    """The GPUs of this instance, or 1."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return 1
    return max(1, sum(line.startswith("GPU ") for line in listed.splitlines()))


def _hosts() -> tuple[list[str], str]:
    try:
        config = json.loads((CONFIG / "resourceconfig.json").read_bytes())
    except OSError:
        return ["localhost"], "localhost"
    return sorted(config["hosts"]), config["current_host"]


if __name__ == "__main__":
    main(sys.argv[1:])
