"""The start of a job in its container, on one machine and on many."""

import json
import os
import subprocess
import sys

import pytest

from pokeflow_sagemaker.executor import container


@pytest.fixture
def ml(tmp_path, monkeypatch):
    """Set up a container's /opt/ml in a temporary folder."""
    for name in ("TRAINING_JOB_NAME", "TRAINING_JOB_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(container, "ML", tmp_path)
    monkeypatch.setattr(container, "CONFIGS", (tmp_path / "input" / "config", tmp_path / "config"))
    (tmp_path / "requirements.txt").write_text("pytest>=1\n")
    monkeypatch.setattr(container, "__file__", str(tmp_path / "container.py"))
    return tmp_path


@pytest.fixture
def became(monkeypatch):
    commands = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    return commands


def configured(folder, **files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def job_facts(command):
    return {command[i + 1] for i, word in enumerate(command) if word == "--environment"}


def test_training_job_executes_its_task_with_checkpoints(ml, became, monkeypatch):
    configured(ml / "input" / "config", resourceconfig={"hosts": ["algo-1"], "current_host": "algo-1"})
    (ml / "checkpoints").mkdir()
    monkeypatch.setenv("TRAINING_JOB_NAME", "job")
    monkeypatch.setenv("TRAINING_JOB_ARN", "arn")
    container.main(["task.json", "1", "failure"])
    (command,) = became
    assert command[:6] == [sys.executable, "-u", "-m", "pokeflow.engine.job", "task.json", "--executor"]
    assert command[command.index("--work") + 1] == str(ml / "checkpoints")
    assert job_facts(command) == {"training_job=job", "training_job_arn=arn", "host=algo-1"}


def test_processing_job_reads_its_name_from_a_file(ml, became):
    configured(
        ml / "config",
        resourceconfig={"hosts": ["algo-1"], "current_host": "algo-1"},
        processingjobconfig={"ProcessingJobName": "job", "ProcessingJobArn": "arn"},
    )
    container.main(["task.json", "1", "failure"])
    assert job_facts(became[0]) == {"training_job=job", "training_job_arn=arn", "host=algo-1"}
    assert "--work" not in became[0]


@pytest.mark.parametrize(("processes", "gpus", "each"), [("auto", 0, 1), ("auto", 4, 4), ("2", 4, 2), ("1", 4, 1)])
def test_many_machines_use_torchrun_with_a_process_per_device(ml, became, monkeypatch, processes, gpus, each):
    hosts = [f"algo-{number}" for number in range(1, 12)]
    configured(ml / "input" / "config", resourceconfig={"hosts": sorted(hosts), "current_host": "algo-10"})
    listed = "".join(f"GPU {i}: NVIDIA A100\n  MIG 1g.5gb\n" for i in range(gpus))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, listed, ""))
    container.main(["task.json", processes, "failure"])
    command = became[0]
    assert command[2:4] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=11", f"--nproc-per-node={each}", "--node-rank=9", "--master-addr=algo-1"} <= set(command)


def test_device_count_is_at_least_one():
    assert container.devices() >= 1


def test_missing_requirements_are_written_as_failure_reason(ml, became):
    (ml / "requirements.txt").write_text("pytest==1\nnowhere-at-all[x]==2.0\n")
    with pytest.raises(SystemExit, match="1"):
        container.main(["task.json", "1", str(ml / "output" / "failure")])
    assert became == []
    assert "the image lacks nowhere-at-all[x]==2.0" in (ml / "output" / "failure").read_text()


def test_container_script_needs_only_the_standard_library():
    process = subprocess.run(
        [sys.executable, "-S", "-I", "-c", "import runpy, sys; runpy.run_path(sys.argv[1])", container.__file__],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
