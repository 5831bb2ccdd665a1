"""Run the command line as a user does: exit codes, output, imports, and recovery from a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pokeflow
from pokeflow.cli import dispatch
from pokeflow.cli._lookup import known_commands
from pokeflow.cli.commands import doctor
from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import POKEFLOW, TOY_FLOW, Cli, environment

HEAVY = ("torch", "timm", "torchvision", "mlflow", "boto3", "botocore", "jsonschema", "onnxruntime", "numpy", "PIL")


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [POKEFLOW, *args], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_runs_the_flow_and_ends_with_a_table_of_the_models(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TOY_FLOW)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["model", "version", "top-1", "top-5", "size", "p50", "p99", "digest", "folder"]
    assert [row.split()[:2] for row in rows] == [["teacher", "v1.0"], ["student", "v1.0"], ["tiny", "v2.1"]]
    for row in rows:
        digest, folder = row.split()[-2:]
        assert json.loads((tmp_path / folder / "record.json").read_text())["digest"] == digest
    assert "9 of 9 tasks ran" in done.stderr


@pytest.mark.slow
def test_the_second_run_executes_no_task(cli: Cli) -> None:
    cli(*TOY_FLOW)
    again = cli(*TOY_FLOW)
    assert again.returncode == 0
    assert "0 of 9 tasks ran" in again.stderr


def test_failure_exits_with_1_and_prints_how_to_resume(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TOY_FLOW, "lineage.models.tiny.params.fail=true")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "compile:tiny failed: it was told to fail." in done.stderr
    command = done.stderr.partition("Resume with: pokeflow ")[2].strip()
    assert command.split() == [*TOY_FLOW, "lineage.models.tiny.params.fail=true"]
    assert "3 of 9 tasks ran" in cli(*TOY_FLOW).stderr  # compile, benchmark and register of tiny


@pytest.mark.slow
@pytest.mark.parametrize("args", [["plan"], [], ["--help"], ["plugins"], ["schema"]])
def test_help_plan_and_a_run_of_nothing_load_no_heavy_package(tmp_path: Path, args: list[str]) -> None:
    code = (
        "import sys; from pokeflow import cli; code = cli.run(sys.argv[1:]);"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules]); sys.exit(code)"
    )
    overrides = [*TOY_FLOW] if args in ([], ["plan"]) else []
    for _ in range(2):  # the second run reuses everything
        command = [sys.executable, "-c", code, *args, *overrides]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "LOADED []" in done.stdout


def test_the_plan_of_the_default_lineage_loads_no_heavy_package(tmp_path: Path) -> None:
    code = (
        "import sys; from pokeflow import cli; code = cli.run(['plan']);"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("args", [["--help"], ["help"], ["data=folder", "-h"]])
def test_help_lists_commands_groups_and_options(cli: Cli, args: list[str]) -> None:
    help_text = cli(*args).stdout
    for word in ("plan", "recognize", "doctor", "lineage", "pokemon, toy", "data", "folder", "-m"):
        assert word in help_text


def test_help_loads_neither_hydra_nor_a_command(tmp_path: Path) -> None:
    code = (
        "import sys; from pokeflow import cli; code = cli.run(['--help']);"
        "print('LOADED', [m for m in sys.modules if m in ('hydra', 'omegaconf', 'sagemaker', *HEAVY)"
        " or m.startswith('pokeflow.cli.commands.') or m.endswith(('.command', '.commands'))"
        " and m != 'pokeflow.cli.commands'])"
    )
    command = [sys.executable, "-c", code.replace("HEAVY", repr(HEAVY))]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr


COMMANDS = [command.name for command in known_commands()]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_usage_flags_and_summary(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        dispatch([name, "--help"])
    help_text = capsys.readouterr().out
    assert left.value.code == 0
    assert help_text.startswith(f"usage: pokeflow {name}")
    assert "--verbose" in help_text
    summary = help_text.split("\n\n")[1]
    assert not summary.startswith((f"pokeflow {name}", f"{name}:", f"{name} "))
    assert dispatch(["help", name]) == 0
    assert capsys.readouterr().out == help_text


def test_version_lists_pokeflow_and_every_plugin(cli: Cli) -> None:
    first, *others = cli("--version").stdout.splitlines()
    assert first == f"pokeflow {pokeflow.__version__}"
    assert {"pokeflow-toy 0.1", "pokeflow-vision 0.1.0", "pokeflow-metadata 0.1.0", "pokeflow-s3 0.1.0"} <= set(others)


def test_the_package_can_be_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pokeflow", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"pokeflow {pokeflow.__version__}\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["plna"], "pokeflow: no command 'plna'. Did you mean 'plan'? Known: deploy, "),
        (["help", "plna"], "pokeflow: no command 'plna'. Did you mean 'plan'? Known: deploy, "),
        (["--mutlirun"], "pokeflow: no flag '--mutlirun'. Did you mean '--multirun'? Known: --cfg, "),
        (["plan", "--mutlirun"], "pokeflow: plan: no flag '--mutlirun'. Known: --config-dir, "),
        (["plan", "lineage=tyo"], "pokeflow: lineage: no option 'tyo'. Did you mean 'toy'? Known: "),
        (["lineage=toy", "plan"], "pokeflow: 'plan' is a command and must come first: 'pokeflow plan …'."),
        (["plan", "=x"], "pokeflow: plan: takes no argument '=x'. "),
    ],
)
def test_unknown_name_is_reported_once_with_the_nearest(cli: Cli, args: list[str], says: str) -> None:
    done = cli(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert done.stderr.count("pokeflow: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "process"])
def test_quiet_shows_only_errors_and_keeps_the_log(cli: Cli, tmp_path: Path, executor: str) -> None:
    quiet = cli("-q", *TOY_FLOW, f"executor={executor}")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout.startswith("model ")
    (file,) = tmp_path.glob("store/runs/*/*/pokeflow.log")
    assert "9 of 9 tasks ran" in file.read_text()
    assert "no option" in cli("-q", "plan", "lineage=none").stderr


@pytest.mark.parametrize("args", [["-v"], ["plan", "-v"], ["-v", "plan"]])
def test_verbose_shows_the_traceback_of_an_error(cli: Cli, args: list[str]) -> None:
    done = cli(*args, "lineage=tyo")
    assert done.returncode == 2
    assert "Did you mean 'toy'?" in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_killed_run_resumes_from_its_checkpoint(cli: Cli, tmp_path: Path) -> None:
    slow = (*TOY_FLOW, "lineage.models.student.params.seconds=600")
    process = start(tmp_path, *slow)
    steps = tmp_path / "store" / "work"
    wait_for(lambda: any(int(f.read_text() or 0) >= 5 for f in steps.glob("*/steps.txt")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (state,) = steps.glob("distill-*/steps.txt")
    state.write_text("5995")  # all but the last half of a second
    assert not list((tmp_path / "store" / "tasks" / "distill").glob("*/*/record.json"))
    done = cli(*slow)
    assert done.returncode == 0
    assert "begins at step 5995" in done.stderr
    assert "0 of 9 tasks ran" in cli(*slow).stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_is_reported_and_can_be_resumed(
    cli: Cli, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    slow = (*TOY_FLOW, "lineage.models.student.params.seconds=600")
    process = start(tmp_path, *slow)
    wait_for(lambda: list((tmp_path / "store" / "work").glob("distill-*/steps.txt")))
    process.send_signal(number)
    _, output = process.communicate(timeout=120)
    assert process.returncode == code
    assert "run the same command to resume" in output
    assert "Traceback" not in output
    assert "run" in cli("plan", *slow).stdout


def test_parallel_runs_make_each_task_once(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    slow = (*TOY_FLOW, "lineage.models.teacher.params.seconds=1", f"lineage.models.teacher.params.note={note}")
    processes = [start(tmp_path, *slow, f"lineage.models.student.params.lr=0.{i}") for i in range(1, 5)]
    output = [p.communicate(timeout=120)[1] for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, output
    assert note.read_text().splitlines() == [note.read_text().strip()], "the teacher was made more than once"


@pytest.mark.slow
def test_waiting_process_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    slow = (*TOY_FLOW, "lineage.models.teacher.params.seconds=600")
    maker = start(tmp_path, *slow)
    wait_for(lambda: list((tmp_path / "store" / "work").glob("train-*/steps.txt")))
    log = tmp_path / "waiter.txt"
    with log.open("w") as out:
        waiter = subprocess.Popen([POKEFLOW, *slow], cwd=tmp_path, env=environment(), stdout=out, stderr=out)
    wait_for(lambda: "another process is running it, waiting" in log.read_text())
    maker.send_signal(signal.SIGSTOP)
    (state,) = (tmp_path / "store" / "work").glob("train-*/steps.txt")
    state.write_text("5995")  # all but the last half of a second
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    waiter.wait(timeout=120)
    output = log.read_text()
    assert waiter.returncode == 0, output
    assert "9 of 9 tasks ran" in output


@pytest.mark.parametrize("words", ["plugins", "--help", "plan --help", "--version", f"plan {' '.join(TOY_FLOW)}"])
@pytest.mark.parametrize("reader", ["| head -1", "| true", "2>&1 | true"])
def test_output_into_a_closed_pipe_is_no_error(tmp_path: Path, words: str, reader: str) -> None:
    buffered = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        *(["bash", "-c", f"{POKEFLOW} {words} {reader}"],),
        cwd=tmp_path, env=buffered, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""


def test_full_disk_behind_the_output_is_reported_once(tmp_path: Path) -> None:
    buffered = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [POKEFLOW, "plugins"],
            cwd=tmp_path,
            env=buffered,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "pokeflow: the system: No space left on device.\n")


def test_hydra_prints_the_composed_configuration(cli: Cli) -> None:
    done = cli("--cfg", "job", *TOY_FLOW)
    assert done.returncode == 0
    assert "name: toy" in done.stdout


@pytest.mark.parametrize("name", ["my-project", "123", "on", "0x10"])
def test_init_makes_a_project_whose_yaml_rules(cli: Cli, tmp_path: Path, name: str) -> None:
    assert cli("init", name).returncode == 0
    project = tmp_path / name
    assert f"name: '{name}'" in (project / "conf" / "project" / f"{name}.yaml").read_text()
    lineage = project / "conf" / "lineage" / "mine.yaml"
    lineage.write_text("name: mine\nmodels:\n  one: {version: v1, type: teacher, stage: train, backend: toy}\n")
    command = [POKEFLOW, "plan", "lineage=mine", "data=none", "tracking=none"]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train:one" in done.stdout
    again = cli("init", name)
    assert again.returncode == 2
    assert "exists and is not empty" in again.stderr


@pytest.mark.parametrize("name", ["..", ".hidden", "a b"])
def test_init_refuses_an_invalid_name(cli: Cli, name: str) -> None:
    assert cli("init", name).returncode == 2


@pytest.mark.slow
def test_doctor_reports_faults_of_a_configuration(cli: Cli) -> None:
    fine, faulty = cli("doctor", *TOY_FLOW), cli("doctor", *TOY_FLOW, "executor=sagemaker")
    assert fine.returncode == 0
    assert "9 tasks, valid" in fine.stdout
    assert faulty.returncode == 1
    assert "'sagemaker' runs remotely and needs a shared store" in faulty.stdout


def test_plugins_lists_contributions_of_each_plugin(cli: Cli) -> None:
    output = cli("plugins").stdout
    assert "pokeflow-toy 0.1" in output
    assert "train:toy" in output
    (vision,) = (line for line in output.splitlines() if line.startswith("vision "))
    assert vision.split()[-1] == "recognize"


def test_a_plugins_command_is_called_like_any_other(cli: Cli) -> None:
    done = cli("toy", "--word", "a=b", "store.root=there", "-v")
    assert (done.returncode, done.stdout) == (7, "a=b ['store.root=there']\n")
    assert cli("toy", "--wrod", "x").stderr.startswith("pokeflow: toy: no flag '--wrod'. Did you mean '--word'?")


def run_with_broken_plugin(command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where a plugin is installed that cannot be loaded."""
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pokeflow]\nbroken = no_such_module\n")
    variables = environment()
    variables["PYTHONPATH"] += os.pathsep + str(tmp_path)
    return subprocess.run([POKEFLOW, command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)


def test_plugin_that_fails_to_load_is_named(tmp_path: Path) -> None:
    done = run_with_broken_plugin("plan", tmp_path)
    assert done.returncode == 1
    assert "plugin 'broken' (no_such_module) cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_doctor_takes_a_folder_of_yaml(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "more" / "store").mkdir(parents=True)
    (tmp_path / "more" / "store" / "elsewhere.yaml").write_text(f"root: {tmp_path}/elsewhere\n")
    done = cli("doctor", *TOY_FLOW, "--config-dir", "more", "store=elsewhere")
    assert done.returncode == 0, done.stdout
    assert f"{tmp_path}/elsewhere (writable)" in done.stdout


@pytest.mark.slow
def test_doctor_lists_requirements_and_checks_of_plugins(cli: Cli) -> None:
    rows = [line.split(maxsplit=2) for line in cli("doctor", *TOY_FLOW).stdout.splitlines()]
    checks = {name: (status, detail) for status, name, detail in rows[1:]}
    assert checks["hydra-core"] == ("ok", f"{metadata.version('hydra-core')} (for pokeflow)")
    assert checks["torch"][1].endswith("(for pokeflow-torch)")
    assert checks["accelerator"][0] == "ok"


@pytest.mark.parametrize(
    ("check", "row"),
    [
        (lambda: iter([("absent", "compiler", "none here")]), ("absent", "compiler", "none here")),
        (lambda: 1 / 0, ("missing", "toy", "its check (toy:check) failed: ZeroDivisionError: division by zero")),
        (lambda: [("fine", "a", "b")], ("missing", "toy", "'fine' is not a status. Known: ok, absent, missing")),
    ],
)
def test_a_check_that_fails_is_a_row(
    check: Callable[[], Any], row: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = SimpleNamespace(name="toy", value="toy:check", load=lambda: check)
    monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [entry])
    (reported,) = doctor._plugin_checks()
    assert reported[:2] == row[:2]
    assert row[2] in reported[2]


@pytest.mark.slow
def test_doctor_runs_although_a_plugin_is_broken(tmp_path: Path) -> None:
    done = run_with_broken_plugin("doctor", tmp_path)
    assert done.returncode == 1
    (row,) = (line for line in done.stdout.splitlines() if line.split()[1] == "plugins")
    assert row.startswith("missing")
    assert "plugin 'broken' (no_such_module) cannot be loaded" in row


@pytest.mark.slow
def test_doctor_checks_conditional_writes_of_a_bucket(cli: Cli, s3: Server) -> None:
    done = cli("doctor", *TOY_FLOW, "store=s3", f"store.remote={s3.uri}", **s3.env)
    assert done.returncode == 0, done.stdout
    assert f"{s3.uri} (writable, conditional writes work)" in done.stdout


@pytest.mark.slow
def test_doctor_reports_a_server_that_ignores_conditions(cli: Cli, rclone_s3: Server) -> None:
    done = cli("doctor", *TOY_FLOW, "store=s3", f"store.remote={rclone_s3.uri}", **rclone_s3.env)
    assert done.returncode == 1
    assert "this server ignores conditional writes" in done.stdout
