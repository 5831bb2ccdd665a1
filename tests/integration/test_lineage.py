"""Run the shipped lineage end to end on small networks: from drawn cards to a recognized picture."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokeflow_testkit.owners_tree import GAPS, TREE
from pokeflow_testkit.support import POKEFLOW, contents, environment
from pokeflow_vision import dataset

pytestmark = [pytest.mark.slow]

TEACHER, STAGE1, STAGE2, TINY = (
    "dinov3-teacher",
    "efficientnet-student-stage1",
    "efficientnet-student-stage2",
    "efficientnet-hailo-optimized",
)
SMALL = (
    "cloud=sagemaker",  # its tasks need no account, and the tree has leaves for them
    "data.cards=60",
    "data.queries.calibration=40",
    "data.photos.cards=1",
    *(
        f"lineage.models.{model}.params.loop.{what}=2"
        for model in (TEACHER, STAGE1, STAGE2)
        for what in ("epochs", "views")
    ),
    "model.teacher=${model.student}",
    *(f"lineage.post_stages.profile.params.{what}={n}" for what, n in (("steps", 3), ("warmup", 0), ("traced", 1))),
    f"lineage.models.{TEACHER}.params.loop.checkpoint_seconds=0.0",
    "target.benchmark.params.runs=20",
)


def pokeflow(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POKEFLOW, *args], cwd=folder, env=environment(), capture_output=True, text=True, timeout=1200, check=False
    )


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Run the lineage, kill it during training, and run it again; return its folder, stdout and stderr."""
    folder = tmp_path_factory.mktemp("project")
    process = subprocess.Popen(
        [POKEFLOW, *SMALL], cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 600
    while not list((folder / "store" / "work").glob("train-*/checkpoint-*.pt")):
        assert time.monotonic() < until, "no checkpoint was written"
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = pokeflow(folder, *SMALL, "publish=true")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


def records(folder: Path) -> dict[str, dict]:
    loaded = (json.loads(file.read_text()) for file in (folder / "store" / "tasks").glob("*/*/*/record.json"))
    return {record["task"]: record for record in loaded}


def test_a_killed_training_is_resumed_from_its_checkpoint(finished_run) -> None:
    assert "train:dinov3-teacher: resumed at step" in finished_run[2]


def test_table_shows_digest_and_folder_of_each_model(finished_run) -> None:
    folder, table, _ = finished_run
    rows = {line.split()[0]: line.split() for line in table.split("\n\n")[0].splitlines()[1:]}
    assert list(rows) == [TEACHER, STAGE1, STAGE2, TINY, "phash256"]
    for model in (TEACHER, STAGE1, STAGE2, TINY):
        assert (folder / rows[model][-1] / "model.onnx").is_file()
        assert (folder / rows[model][-1] / "record.json").is_file()
        assert rows[model][-2] in rows[model][-1]
    assert "against 60 references, one per card; nearest by cosine; exact printing" in table


def test_the_spec_s_metrics_are_in_the_records(finished_run) -> None:
    by_task = records(finished_run[0])
    expected = {
        f"train:{TEACHER}": {"top1_accuracy", "top5_accuracy", "loss"},
        f"distill:{STAGE1}": {"feature_loss", "kl_loss", "attention_loss", "highfreq_loss"},
        f"distill:{STAGE2}": {"task_accuracy", "distillation_gap", "cosine_similarity"},
        f"benchmark:{TINY}": {"latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "throughput_fps_batch1", "size_mb"},
    }
    for task, names in expected.items():
        assert names <= set(by_task[task]["metrics"]), task
    gap = by_task[f"distill:{STAGE2}"]["metrics"]
    assert gap["distillation_gap"] == pytest.approx(
        by_task[f"train:{TEACHER}"]["metrics"]["top1_accuracy"] - gap["task_accuracy"]
    )


def test_every_step_carries_the_same_preprocessing(finished_run) -> None:
    hashes = {r["facts"]["preprocessing"] for r in records(finished_run[0]).values() if "preprocessing" in r["facts"]}
    assert len(hashes) == 1


def test_the_int8_form_is_smaller_and_agrees_with_its_parent(finished_run) -> None:
    metrics = records(finished_run[0])[f"compile:{TINY}"]["metrics"]
    assert metrics["size_ratio"] > 3
    # After two epochs activations are wild, and how much of them INT8 keeps depends on the processor's instructions.
    assert metrics["cosine_to_parent"] > 0.85


def test_the_second_run_executes_no_task_and_leaves_no_folder(finished_run) -> None:
    folder = finished_run[0]
    before = sorted((folder / "store" / "runs").rglob("*"))
    again = pokeflow(folder, *SMALL)
    assert "0 of 23 tasks ran" in again.stderr
    assert sorted((folder / "store" / "runs").rglob("*")) == before


def test_tree_has_every_leaf_that_a_stage_can_produce(finished_run) -> None:
    tree = finished_run[0] / "store" / "project" / "pokemon-card-recognition"
    files = contents(tree)
    missing = {leaf for leaf in TREE if not any(f == leaf or (leaf[-1] == "/" and f.startswith(leaf)) for f in files)}
    assert missing == {leaf for leaf in TREE if leaf.startswith(tuple(GAPS))}


def test_gaps_are_listed_with_what_would_fill_them(finished_run) -> None:
    gaps = finished_run[1].partition("missing, and what would produce it:")[2]
    for leaf, word in GAPS.items():
        if word != "track":  # the next run's tracking may write there at any time
            assert any(leaf in line and word in line for line in gaps.splitlines()), leaf


def test_manifest_figures_agree_with_the_records(finished_run) -> None:
    tree, by_task = finished_run[0] / "store" / "project" / "pokemon-card-recognition", records(finished_run[0])
    models = json.loads((tree / "metadata" / "project_manifest.json").read_text())["models"]
    assert list(models) == [TEACHER, STAGE1, STAGE2, TINY]
    teacher, student = (by_task[task]["facts"]["parameters"] for task in (f"train:{TEACHER}", f"distill:{STAGE1}"))
    ratio = models[STAGE1]["compression_ratio"]
    assert float(ratio.removesuffix("x")) == pytest.approx(teacher / student, rel=0.01)
    latency = by_task[f"benchmark:{TINY}"]["metrics"]["latency_p50_ms"]
    assert models[TINY]["performance"]["inference_latency_ms"] == pytest.approx(latency)
    assert models[TEACHER]["training_job"] is None
    assert "local" in models[TEACHER]["reasons"]["training_job"]


def test_tree_passes_verification(finished_run) -> None:
    done = pokeflow(finished_run[0], "verify", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_published_model_is_pulled(finished_run, tmp_path: Path) -> None:
    done = pokeflow(finished_run[0], "pull", f"{TINY}:v2.1", "--to", str(tmp_path), *SMALL)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.rglob("*")} >= {"model.tar.gz", "compilation_report.json", "metrics.json"}


def test_every_task_is_tracked_and_every_model_registered(finished_run) -> None:
    from mlflow import MlflowClient

    folder = finished_run[0]
    client = MlflowClient(f"sqlite:///{folder / 'store' / 'mlflow.db'}")
    names = {e.name: e.experiment_id for e in client.search_experiments()}
    for name in ("pokemon-card-dinov3-teacher", "pokemon-card-student-distillation-stage1"):
        assert client.search_runs([names[name]]), name
    assert {m.name for m in client.search_registered_models()} == {TEACHER, STAGE1, STAGE2, TINY}


def test_a_reference_is_recognized(finished_run) -> None:
    folder = finished_run[0]
    (prepared,) = (folder / "store" / "tasks" / "prepare" / "data").iterdir()
    data = dataset.read(prepared)
    Image.fromarray(np.asarray(data.references[7])).save(folder / "card.png")
    done = pokeflow(folder, "recognize", "card.png", "--json", "--top", "3")
    assert done.returncode == 0, done.stderr
    matches = json.loads(done.stdout)["matches"]
    assert matches[0]["card_id"] == data.cards[7].card_id
    assert [m["score"] for m in matches] == sorted((m["score"] for m in matches), reverse=True)


@pytest.mark.parametrize(
    ("args", "fault"),
    [(("no.jpg",), "no file 'no.jpg'"), ((".",), "no file '.'"), (("card.png", "--top", "0"), "0 is below 1")],
)
def test_wrong_recognition_request_is_reported(finished_run, args: tuple[str, ...], fault: str) -> None:
    done = pokeflow(finished_run[0], "recognize", *args)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_student_reuses_data_and_teacher(finished_run) -> None:
    raised = (f"lineage.models.{model}.version=v9" for model in (STAGE1, STAGE2, TINY))
    plan = pokeflow(finished_run[0], "plan", *SMALL, f"lineage.models.{STAGE1}.params.optim.lr=0.5", *raised).stdout
    status = {line.split()[1]: line.split()[0] for line in plan.splitlines() if line.startswith(("run", "reuse"))}
    assert status["prepare:data"] == status[f"train:{TEACHER}"] == status[f"register:{TEACHER}"] == "reuse"
    assert status[f"distill:{STAGE1}"] == status[f"compile:{TINY}"] == "run"
