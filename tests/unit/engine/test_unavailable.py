"""Report tasks whose tools are missing as waiting, and keep simulated results out of registries and publications."""

import json
from pathlib import Path

import pytest

import pokeflow
from pokeflow import engine, plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.engine import RunResult
from pokeflow.engine import _runner as runner
from pokeflow.engine import _tracking as tracking
from pokeflow.errors import EXIT_UNAVAILABLE, PokeflowError, TaskError
from pokeflow.project import _publish as publish
from pokeflow.store._local import Store
from pokeflow_testkit.support import TOY, TOY_FLOW, contents
from pokeflow_vision.commands.recognize import newest

ABSENT = "lineage.models.tiny.params.absent=true"
SIMULATED = "lineage.models.tiny.params.simulated=true"
UNREGISTERED = "lineage.models.tiny.post_stages.register=null"


@pytest.fixture
def flow_of(tmp_path: Path):
    def make(*overrides: str):
        cfg = composition.compose_config([*TOY_FLOW, f"store.root={tmp_path / 'store'}", *overrides])
        return resolve(omegaconf.to_plain(cfg), plugins.registry(plugins.manager()))

    return make


def run(flow) -> RunResult:
    return pokeflow.run(flow)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "process"])
def test_task_without_its_compiler_waits_and_the_rest_runs(flow_of, executor: str, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOY))
    with pytest.raises(TaskError) as error:
        run(flow_of(ABSENT, f"executor={executor}"))
    assert error.value.exit_code == EXIT_UNAVAILABLE
    assert "compile:tiny unavailable: no compiler here. Install the toy compiler 2.0." in str(error.value)
    assert "Not run: benchmark:tiny, register:tiny (a task that they need did not finish)." in str(error.value)
    assert "failed" not in str(error.value)
    assert set(error.value.records) == {
        *(f"{stage}:{model}" for stage in ("benchmark", "register") for model in ("teacher", "student")),
        "train:teacher",
        "distill:student",
    }


def test_prepared_files_of_a_waiting_task_are_kept_uncommitted(flow_of, tmp_path: Path) -> None:
    flow = flow_of(ABSENT)
    with pytest.raises(TaskError) as error:
        run(flow)
    ready = next(line for line in str(error.value).splitlines() if "files prepared for it" in line).partition(": ")[2]
    assert contents(Path(ready)) == {"calibration.txt": b"ready\n"}
    assert Store(tmp_path / "store").load(flow.step("compile:tiny")) is None


def test_failure_outranks_a_waiting_task(flow_of) -> None:
    with pytest.raises(TaskError, match="register:student failed") as error:
        run(flow_of(ABSENT, "lineage.models.student.post_stages.register={backend: toy, params: {fail: true}}"))
    assert error.value.exit_code == 1


def test_waiting_task_is_tried_again_by_the_next_run(flow_of) -> None:
    for _ in range(2):
        with pytest.raises(TaskError, match="unavailable"):
            run(flow_of(ABSENT))
    assert {planned.step.name for planned in engine.plan(flow_of(ABSENT), runner.now()) if not planned.record} == {
        "compile:tiny",
        "benchmark:tiny",
        "register:tiny",
    }


def test_command_publishes_the_rest_and_exits_as_waiting(cli, tmp_path: Path) -> None:
    done = cli(*TOY_FLOW, ABSENT, "publish=true")
    assert done.returncode == EXIT_UNAVAILABLE
    assert "student  v1.0" in done.stdout
    assert "tiny  " not in done.stdout
    assert "no compiler here. Install the toy compiler 2.0." in done.stderr
    manifest = next(tmp_path.rglob("project_manifest.json"))
    assert sorted(json.loads(manifest.read_text())["models"]) == ["student", "teacher"]


@pytest.mark.slow
def test_sweep_publishes_the_rest_and_exits_as_waiting(cli, tmp_path: Path) -> None:
    done = cli("-m", *TOY_FLOW, ABSENT, "lineage.models.tiny.params.lr=1,2", "publish=true")
    assert done.returncode == EXIT_UNAVAILABLE
    assert [line.split()[2:] for line in done.stdout.splitlines() if line[:2] in ("0 ", "1 ")] == [
        ["0.1000", "4", "run"],
        ["0.1000", "0", "run"],
    ]
    assert done.stderr.count("compile:tiny unavailable: no compiler here. Install the toy compiler 2.0.") == 2
    manifest = next(tmp_path.rglob("project_manifest.json"))
    assert sorted(json.loads(manifest.read_text())["models"]) == ["student", "teacher"]


@pytest.mark.slow
def test_trial_without_its_objective_is_listed_as_waiting(cli) -> None:
    done = cli("-m", *TOY_FLOW, "lineage.objective=tiny.score", "lineage.models.tiny.params.absent=true,false")
    assert done.returncode == EXIT_UNAVAILABLE
    assert [line.split()[2] for line in done.stdout.splitlines() if line[:2] in ("0 ", "1 ")] == [
        "unavailable",
        "0.0100",
    ]


@pytest.mark.slow
def test_a_sweep_in_which_one_fails_and_one_waits_has_failed(cli) -> None:
    done = cli("-m", *TOY_FLOW, ABSENT, "lineage.models.student.params.fail=true,false")
    assert done.returncode == 1


@pytest.mark.slow
def test_failed_publication_exits_1_without_a_hydra_message(cli, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "project").write_text("a file where the tree is to be")
    done = cli(*TOY_FLOW, ABSENT, "publish=true")
    assert done.returncode == 1
    assert "Hydra ended" not in done.stderr


def test_results_of_simulated_inputs_are_simulated(flow_of) -> None:
    with pytest.raises(TaskError, match="register:tiny failed") as error:
        run(flow_of(SIMULATED))
    records = error.value.records
    assert [name for name, record in records.items() if record.simulated] == ["compile:tiny", "benchmark:tiny"]


def test_a_simulated_model_is_not_registered(flow_of) -> None:
    with pytest.raises(
        TaskError, match=r"compile:tiny, benchmark:tiny was produced by a simulator and cannot be registered"
    ):
        run(flow_of(SIMULATED))


def test_nothing_simulated_is_published_and_the_gap_says_why(flow_of) -> None:
    flow = flow_of(SIMULATED)
    with pytest.raises(TaskError) as error:
        run(flow)
    done = publish.publish(flow, error.value.records)
    there = contents(flow.root / flow.tree)
    assert {comparison.publication.receipt.unit for comparison in done.comparisons} == {
        "models/teacher/v1.0",
        "models/student/v1.0",
    }
    assert not any("tiny" in path for path in there)
    assert "tiny" not in json.loads(there["metadata/project_manifest.json"])["models"]
    assert "tiny" not in json.loads(there["metadata/performance_benchmarks.json"])["models"]
    assert "compile:tiny is simulated, and simulated results are not published" in {gap.why for gap in done.gaps}


def test_no_run_of_a_double_is_in_the_published_history(flow_of) -> None:
    flow = flow_of(SIMULATED, UNREGISTERED)
    publish.publish(flow, run(flow).records)
    history = json.loads((flow.root / flow.tree / "metadata/training_history.json").read_text())
    assert [entry["task"] for entry in history["runs"]] == ["train:teacher", "distill:student"]


def test_no_sweep_looks_at_a_figure_of_a_double(flow_of) -> None:
    flow = flow_of(SIMULATED, UNREGISTERED, "lineage.objective=tiny.score")
    assert run(flow).objective is None


def test_expected_tracking_of_a_simulated_task_is_dropped(flow_of, tmp_path) -> None:
    flow = flow_of(SIMULATED, UNREGISTERED, "tracking=toy")
    store, step = Store(tmp_path / "store"), flow.step("compile:tiny")
    tracking.enqueue_expected(flow, store, step, None)
    run(flow)
    assert "tiny" not in (tmp_path / "store" / "tracked.txt").read_text()
    assert list((tmp_path / "store" / "outbox").iterdir()) == []


@pytest.mark.slow
def test_simulated_results_run_again_the_next_time(flow_of, cli) -> None:
    cli(*TOY_FLOW, SIMULATED, UNREGISTERED)
    lines = cli("plan", *TOY_FLOW, SIMULATED, UNREGISTERED).stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.endswith("the result is simulated")] == [["run", "compile:tiny"]]
    assert set(run(flow_of(SIMULATED, UNREGISTERED)).ran) == {"compile:tiny", "benchmark:tiny"}


def test_nothing_simulated_is_tracked(flow_of, tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        run(flow_of(SIMULATED, "tracking=toy"))
    assert "tiny" not in (tmp_path / "store" / "tracked.txt").read_text()


def test_simulated_figures_are_left_out_of_tables(cli) -> None:
    done = cli(*TOY_FLOW, SIMULATED, UNREGISTERED)
    line = next(line for line in done.stdout.splitlines() if line.startswith("tiny"))
    assert line.split()[1:7] == ["v2.1", "–", "–", "–", "–", "–"]
    assert "compile:tiny: simulated" in done.stdout
    assert [line.split(" s ")[1] for line in done.stderr.splitlines() if ":tiny: done in" in line] == [
        "(simulated)"
    ] * 2


def test_nothing_is_recognized_by_a_simulated_model(flow_of, tmp_path: Path) -> None:
    run(flow_of(SIMULATED, UNREGISTERED))
    with pytest.raises(PokeflowError, match="none of the compiled models has been benchmarked"):
        newest(Store(tmp_path / "store"))


def test_model_with_a_simulated_benchmark_recognizes_nothing(flow_of, tmp_path: Path) -> None:
    double = "lineage.models.tiny.post_stages.benchmark={backend: toy, params: {simulated: true}}"
    run(flow_of(double, UNREGISTERED))
    with pytest.raises(PokeflowError, match="none of the compiled models has been benchmarked"):
        newest(Store(tmp_path / "store"))
