import csv
import gzip
import json
import shutil
from dataclasses import replace

import pytest

from pokeflow import PokeflowError
from pokeflow.digest import digest_params
from pokeflow.types import Input, Task
from pokeflow_torch.params import Optim, ProfileParams, TrainParams
from pokeflow_torch.stages import distill
from pokeflow_torch.stages.profile import run
from pokeflow_torch.step import rate

from ..conftest import LOOP, VIT, record

SHORT = ProfileParams(steps=4, warmup=1, traced=1, sample_seconds=0.02)
TAUGHT = TrainParams(VIT, Optim(), replace(LOOP, epochs=1))  # as in the ``teacher`` fixture


def rows(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def profiling(folder, model, kind, params, data, *more):
    """Return the task that profiles the model in folder ``model``, with ``more`` inputs."""
    stage = {"teacher": "train", "student": "distill"}[kind]
    about = replace(record(stage, kind), params=digest_params(params))
    for part in ("work", "out"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    inputs = (Input(about, model), *more, Input(record("prepare", "data"), data))
    return Task("profile", "torch", "m<1>", "v1", kind, "d", SHORT, inputs, folder / "work", folder / "out")


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    """Profile a teacher; return the task, its result, and the teacher's folder with its telemetry."""
    folder = tmp_path_factory.mktemp("profile")
    shutil.copytree(teacher, folder / "model")
    shutil.copytree(teacher.parent / "work" / "telemetry", folder / "model" / "telemetry")
    task = profiling(folder, folder / "model", "teacher", TAUGHT, teacher.parent / "data")
    return task, run(task), folder / "model"


@pytest.fixture
def student(make, distill_params, teacher):
    """Distil a student for one epoch; return its folder and its parameters."""
    params = replace(distill_params, loop=replace(distill_params.loop, epochs=1))
    task = make("distill", params, teacher=teacher)
    distill.run(task)
    return task.output, params


@pytest.mark.slow
def test_profile_has_the_documented_files(whole):
    task, result, _ = whole
    files = {str(file.relative_to(task.output)) for file in task.output.rglob("*") if file.is_file()}
    assert {name for name in files if name.count("/") == 0} == {"profiler-report.html"}
    assert {"system/steps.csv", "system/training.csv", "framework/trace.json.gz", "framework/operators.csv"} <= files
    assert {"framework/memory.csv", "framework/steps.csv", "framework/summary.json"} <= files
    assert {f"tensors/{name}.csv" for name in ("weights", "gradients", "activations")} <= files
    assert {f"rules/{rule}.json" for rule in result.facts["rules"]} <= files
    assert all(rows(task.output / name) for name in files if name.endswith(".csv"))
    json.dumps(result.facts)


@pytest.mark.slow
def test_metrics_cover_only_the_timed_steps(whole):
    task, result, _ = whole
    steps = rows(task.output / "framework" / "steps.csv")
    assert [int(row["step"]) for row in steps] == [3, 4, 5, 6]
    middle = sorted(float(row["step_ms"]) for row in steps)
    assert result.metrics["step_ms_p50"] == pytest.approx((middle[1] + middle[2]) / 2)
    assert result.metrics["samples_per_second"] == pytest.approx(8000 / result.metrics["step_ms_p50"])
    shares = [value for name, value in result.metrics.items() if name.endswith("_share")]
    assert sum(shares) == pytest.approx(1)
    assert all(result.metrics[f"{part}_share"] > 0 for part in ("forward", "backward", "optimizer", "augment"))
    assert result.metrics["peak_memory_mb"] > 50
    assert result.metrics["training_step_ms_p50"] > 0
    assert result.facts["began_at"] == "the training's last state"
    assert result.reasons == {}


@pytest.mark.slow
def test_profiled_steps_are_the_last_of_the_training(whole, data):
    task, _, model = whole
    longer = replace(TAUGHT, loop=replace(TAUGHT.loop, epochs=4))
    task = profiling(task.output.parent / "longer", model, "teacher", longer, data)
    run(task)
    steps = rows(task.output / "framework" / "steps.csv")
    rates = {position + 1: TAUGHT.optim.lr * rate(position, 12, TAUGHT.optim.warmup) for position in range(7, 11)}
    assert {int(row["step"]): float(row["lr"]) for row in steps} == rates


@pytest.mark.slow
def test_trace_names_the_parts_of_a_step(whole):
    task, _, _ = whole
    with gzip.open(task.output / "framework" / "trace.json.gz", "rt") as text:
        names = {event.get("name") for event in json.load(text)["traceEvents"]}
    assert {f"step/{part}" for part in ("load", "augment", "forward", "backward", "optimizer", "average")} <= names
    operators = rows(task.output / "framework" / "operators.csv")
    assert {"aten::addmm", "Optimizer.step#AdamW.step"} <= {row["operator"] for row in operators}
    shares = [float(row["share"]) for row in operators]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_tensors_list_weights_gradients_and_activations(whole):
    task, _, _ = whole
    weights, gradients, layers = (
        rows(task.output / "tensors" / f"{n}.csv") for n in ("weights", "gradients", "activations")
    )
    assert [row["weight"] for row in weights] == [row["weight"] for row in gradients]
    assert {"network.head.0.weight", "margin_loss.W"} <= {row["weight"] for row in weights}
    norms = {row["weight"]: float(row["norm"]) for row in gradients}
    assert norms["network.head.0.weight"] > 0
    assert norms["margin_loss.W"] > 0
    assert "head.1" in {row["layer"] for row in layers}


def test_report_is_self_contained_and_escapes_names(whole):
    task, _, _ = whole
    page = (task.output / "profiler-report.html").read_text(encoding="utf-8")
    assert "m&lt;1&gt; v1" in page
    assert "m<1>" not in page
    assert not any(word in page for word in ("http://", "https://", "<script", "src=", "url(", "<link"))
    assert page.count("<svg") == page.count("</svg>") >= 6


@pytest.mark.slow
def test_student_profile_without_teacher_uses_the_margin_loss(student, data, tmp_path):
    task = profiling(tmp_path / "profile", student[0], "student", student[1], data)
    result = run(task)
    assert "the teacher's forward pass and the terms feature, kl, attention, highfreq" in result.facts["left_out"]
    assert result.facts["left_out"] in (task.output / "profiler-report.html").read_text().replace("&#x27;", "'")
    assert result.metrics["backward_share"] > 0
    assert result.metrics["training_step_ms_p50"] is None
    assert "no telemetry" in result.reasons["training_step_ms_p50"]
    assert (task.output / "system" / "training.csv").read_text() == ""


@pytest.mark.slow
def test_student_profile_with_teacher_covers_all_terms(student, data, teacher, tmp_path):
    taught_by = Input(record("train", "teacher"), teacher)
    task = profiling(tmp_path / "profile", student[0], "student", student[1], data, taught_by)
    result = run(task)
    assert result.facts["left_out"] is None
    assert result.facts["began_at"] == "the training's last state"
    assert {"kl_loss", "task_loss"} <= set(rows(task.output / "framework" / "steps.csv")[0])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_profile_uses_the_precision_of_the_training(whole, data, tmp_path, precision):
    model = shutil.copytree(whole[2], tmp_path / "model")
    (model / "checkpoint.pt").unlink()
    params = replace(TAUGHT, loop=replace(TAUGHT.loop, precision=precision))
    result = run(profiling(tmp_path / "profile", model, "teacher", params, data))
    assert result.facts["precision"] == precision
    assert "not kept" in result.facts["began_at"]


def test_model_of_another_backend_is_refused(whole):
    task, _, model = whole
    other = replace(task.inputs[0].record, backend="jax")
    with pytest.raises(PokeflowError, match=r"trained by backend 'jax'.*post_stages\.profile: null"):
        run(replace(task, inputs=(Input(other, model), *task.inputs[1:])))
