"""Run sweeps: one trial per combination, ancestors made once, and failed trials that stop no other."""

from pathlib import Path

import pytest

from pokeflow.cli import sweep
from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import TOY_FLOW, Cli

EIGHT = "lineage.models.student.params.lr=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8"
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=4")


def trials(store: Path) -> list[sweep.Trial]:
    (folder,) = (store / "sweeps").glob("*/*")
    return sweep.read(folder)


@pytest.mark.slow
def test_eight_trials_at_once_make_their_teacher_once(cli: Cli, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    teacher = (f"lineage.models.teacher.params.note={note}", "lineage.models.teacher.params.seconds=0.5")
    done = cli("-m", *TOY_FLOW, EIGHT, *teacher, *JOBLIB)
    assert done.returncode == 0, done.stderr
    assert len(note.read_text().splitlines()) == 1
    results = trials(tmp_path / "store")
    assert [t.objective for t in results] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert len(list((tmp_path / "store" / "tasks" / "distill" / "student").iterdir())) == 8


@pytest.mark.slow
def test_failed_trial_is_reported_and_stops_no_other(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1,-1,fast,0.4")
    assert done.returncode == 1
    results = trials(tmp_path / "store")
    assert [t.error is None for t in results] == [True, False, False, True]
    assert "lineage.models.student.params.lr: is negative." in done.stderr
    assert "expected a number, got text 'fast'" in done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()[1:]] == ["0.1000", "failed", "failed", "0.4000"]


@pytest.mark.slow
def test_trial_registers_only_when_requested(cli: Cli, tmp_path: Path) -> None:
    cli("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1,0.2")
    assert not (tmp_path / "store" / "tasks" / "register").exists()
    cli("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1,0.2", "stages=[register]")
    assert len(list((tmp_path / "store" / "tasks" / "register" / "student").iterdir())) == 2


@pytest.mark.slow
def test_running_a_sweep_again_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    two = "lineage.models.student.params.lr=0.1,0.2"
    cli("-m", *TOY_FLOW, two)
    again = cli("-m", *TOY_FLOW, two)
    assert [line.split()[-2:] for line in again.stdout.splitlines()[1:]] == [["0", "run"]] * 2


@pytest.mark.slow
def test_a_forced_sweep_remakes_the_shared_teacher_once(cli: Cli, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    args = ("-m", *TOY_FLOW, "lineage.models.student.params.lr=0.1,0.2", f"lineage.models.teacher.params.note={note}")
    cli(*args)
    cli(*args, "force=[teacher]")
    assert len(note.read_text().splitlines()) == 2


@pytest.mark.slow
def test_trials_with_separate_stores_report_through_the_bucket(cli: Cli, tmp_path: Path, s3: Server) -> None:
    bucket = ("store=s3", f"store.remote={s3.uri}")
    done = cli("-m", *TOY_FLOW, *bucket, "store.root=one,two", "lineage.models.student.params.lr=0.1,-1", **s3.env)
    assert done.returncode == 1
    assert [line.split()[-3] for line in done.stdout.splitlines()[1:]] == ["0.1000", "failed", "0.1000", "failed"]
    assert len(list((tmp_path / "two").glob("sweeps/*/*/*/trial.json"))) == 2
    assert not list((tmp_path / "store").glob("sweeps/*/*/*/trial.json"))


@pytest.mark.slow
def test_trials_without_a_result_file_fail_the_sweep(cli: Cli) -> None:
    done = cli("-m", *TOY_FLOW, "store.root=one,two")
    assert done.returncode == 1
    assert "no trial.json in store/sweeps" in done.stderr
