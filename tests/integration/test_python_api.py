"""Use the Python API as a notebook does: exceptions, plain data, any thread, and no global state."""

import copy
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import pokeflow
from pokeflow import engine
from pokeflow.config import composition
from pokeflow.flow import Flow
from pokeflow_testkit.support import TOY_FLOW, Cli, environment

S3 = ("store=s3", "store.remote=s3://no-such-bucket/prefix")


def load(root: Path, *overrides: str) -> Flow:
    return pokeflow.load([*TOY_FLOW, f"store.root={root}", *overrides])


def test_a_run_gives_records_figures_and_folders(tmp_path: Path) -> None:
    result = pokeflow.run(load(tmp_path))
    assert len(result.ran) == 9
    assert result.records["train:teacher"].metrics == {"score": 0.1}
    assert (result.folder("train:teacher") / "model.txt").is_file()
    figures = {(f.model, f.version, f.stage, f.metric): f.value for f in result.figures()}
    assert figures["teacher", "v1.0", "train", "score"] == 0.1
    assert figures["tiny", "v2.1", "benchmark", "latency_p50_ms"] is not None


def test_a_figure_that_is_unknown_has_its_reason(tmp_path: Path) -> None:
    unmeasured = "lineage.models.teacher.params.reason='nobody looked'"
    (figure,) = pokeflow.run(load(tmp_path, unmeasured, "models=[teacher]", "stages=[train]")).figures()
    assert (figure.value, figure.reason) == (None, "nobody looked")


def test_second_run_returns_the_reused_records(tmp_path: Path) -> None:
    first, second = pokeflow.run(load(tmp_path)), pokeflow.run(load(tmp_path))
    assert second.ran == ()
    assert second.records == first.records


def test_plan_gives_reasons(tmp_path: Path) -> None:
    planned = {item.step.name: item.why for item in pokeflow.plan(load(tmp_path))}
    assert planned["train:teacher"] == "no result yet"
    assert planned["distill:student"] == "after train:teacher"
    assert list(tmp_path.iterdir()) == []


def test_faults_are_exceptions(tmp_path: Path) -> None:
    with pytest.raises(pokeflow.ConfigError) as caught:
        load(tmp_path, "models=[teachr]", "lineage.models.teacher.params.lr=fast")
    assert {fault.path for fault in caught.value.faults} == {"models", "lineage.models.teacher.params.lr"}
    with pytest.raises(TypeError, match="a list of KEY=VALUE"):
        pokeflow.load("lineage=toy")


def test_failed_task_raises_with_the_finished_records(tmp_path: Path) -> None:
    with pytest.raises(pokeflow.TaskError, match="compile:tiny failed") as caught:
        pokeflow.run(load(tmp_path, "lineage.models.tiny.params.fail=true"))
    assert "distill:student" in caught.value.records


def test_unavailable_task_raises_with_an_exit_code_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(pokeflow.TaskError, match="Install the toy compiler") as caught:
        pokeflow.run(load(tmp_path, "lineage.models.tiny.params.absent=true"))
    assert caught.value.exit_code == 3
    assert "distill:student" in caught.value.records


def test_config_dir_adds_a_user_s_options(tmp_path: Path) -> None:
    (tmp_path / "lineage").mkdir()
    (tmp_path / "lineage" / "mine.yaml").write_text(
        "name: mine\nmodels: {one: {version: v1, type: some, stage: train, backend: toy}}\n"
    )
    flow = pokeflow.load([*TOY_FLOW, "lineage=mine"], config_dir=tmp_path)
    assert [step.name for step in flow.steps] == ["train:one"]
    assert flow.command.startswith(f"pokeflow --config-dir {tmp_path}")


@pytest.mark.slow
def test_a_flow_is_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for flow in (load(tmp_path), load(tmp_path, *S3)):
        assert pickle.loads(pickle.dumps(flow)) == flow
        assert copy.deepcopy(flow) == flow
    assert load(tmp_path) == load(tmp_path) != load(tmp_path, "models=[teacher]")


def test_a_bucket_is_opened_only_when_something_is_read(tmp_path: Path) -> None:
    before = {name for name in sys.modules if name.startswith("botocore")}
    flow = load(tmp_path, *S3, "store.connections=3")
    assert {name for name in sys.modules if name.startswith("botocore")} == before
    assert (flow.remote_store and flow.remote_store.uri) == "s3://no-such-bucket/prefix"
    remote = pokeflow.open_store(flow).remote
    assert getattr(remote, "server").connections == 3  # noqa: B009 - only a bucket has a server


def test_run_leaves_no_global_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook", "-f", "kernel.json"])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    levels = logging.getLogger().level, list(logging.getLogger().handlers)
    variables = dict(os.environ)
    pokeflow.run(load(tmp_path / "store"))
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is None
    assert Path.cwd() == tmp_path
    assert sys.argv == ["notebook", "-f", "kernel.json"]
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == levels
    assert dict(os.environ) == variables
    assert not (tmp_path / "store" / "runs").exists()


def test_hydra_instance_of_the_caller_is_restored(tmp_path: Path) -> None:
    with composition.session(composition.Arguments()):
        theirs = GlobalHydra.instance().hydra
        load(tmp_path)
        assert GlobalHydra.instance().hydra is theirs
    with pytest.raises(pokeflow.ConfigError):
        load(tmp_path, "lineage=nowhere")
    assert not GlobalHydra.instance().is_initialized()


def test_hydra_composition_of_the_caller_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("answer: on\n")
    load(tmp_path / "store")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose("theirs", overrides=["+store=local"]) == {"answer": True, "store": "local"}


def test_threads_may_load_and_run_at_once(tmp_path: Path) -> None:
    results: dict[int, engine.RunResult] = {}

    def work(number: int) -> None:
        results[number] = pokeflow.run(load(tmp_path, f"lineage.models.student.params.lr=0.{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [results[n].records["distill:student"].metrics["score"] for n in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert sum("train:teacher" in result.ran for result in results.values()) == 1


def test_a_run_plans_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, calls = engine.plan, []
    monkeypatch.setattr(engine, "plan", lambda *args: calls.append(args) or plan(*args))
    pokeflow.run(load(tmp_path))
    assert len(calls) == 1


def test_the_command_line_composes_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pokeflow import cli; from pokeflow.config import composition;"
        "composed, calls = composition.load, [];"
        "composition.load = lambda *args: calls.append(args) or composed(*args);"
        "code = cli.run(sys.argv[1:]); print('COMPOSED', len(calls)); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *TOY_FLOW]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("COMPOSED 1\n")


def test_run_folder_holds_hydra_s_files_and_the_log(cli: Cli, tmp_path: Path) -> None:
    assert cli(*TOY_FLOW, "models=[teacher]").returncode == 0
    (folder,) = (tmp_path / "store" / "runs").glob("*/*")
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "pokeflow.log"}
    assert "models=[teacher]" in (folder / ".hydra" / "overrides.yaml").read_text()
    assert "train:teacher: done" in (folder / "pokeflow.log").read_text()


@pytest.mark.slow
def test_callbacks_of_the_configuration_are_called(cli: Cli, tmp_path: Path) -> None:
    target = "hydra.experimental.callbacks.LogJobReturnCallback"
    done = cli(*TOY_FLOW, "models=[teacher]", f"+hydra.callbacks.told={{_target_: {target}}}")
    assert done.returncode == 0, done.stderr
    assert "Succeeded with return value" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    ["+hydra.callbacks.x._target_=nope", "+hydra.callbacks.x=3", "hydra.job_logging.version=7", "hydra.run.dir=${no}"],
)
def test_hydra_errors_are_reported_without_a_traceback(cli: Cli, override: str) -> None:
    done = cli(*TOY_FLOW, "models=[teacher]", override)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("pokeflow:")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_run_that_reuses_everything_makes_no_folder(cli: Cli, tmp_path: Path) -> None:
    cli(*TOY_FLOW)
    before = sorted((tmp_path / "store" / "runs").rglob("*"))
    assert cli(*TOY_FLOW).returncode == 0
    assert sorted((tmp_path / "store" / "runs").rglob("*")) == before
