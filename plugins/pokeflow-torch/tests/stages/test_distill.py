import json
import math
from dataclasses import replace

import pytest
import torch

from pokeflow import PokeflowError
from pokeflow_torch import evaluate, networks
from pokeflow_torch.stages import distill
from pokeflow_vision import dataset, preprocessing
from pokeflow_vision.preprocessing import Preprocessing

from ..conftest import ALL, CNN, SIZE, VIT, learner, write_data


@pytest.mark.slow
def test_student_folder_and_metrics_are_complete(make, distill_params, teacher):
    task = make("distill", distill_params, teacher=teacher)
    result = distill.run(task)
    files = {"model.onnx", "weights.pt", "network.json", "preprocessing.json", "history.jsonl"}
    files |= {"checkpoint.pt", "distillation_report.json"}
    assert {file.name for file in task.output.iterdir()} == files
    figures = {f"{name}_loss" for name in ALL} | {
        "task_accuracy",
        "top5_accuracy",
        "artwork_top1_accuracy",
        "distillation_gap",
        "cosine_similarity",
    }
    assert set(result.metrics) == figures
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert all(result.metrics[f"{name}_loss"] > 0 for name in ALL)
    student, _ = networks.load(task.output)
    teachers, _ = networks.load(teacher)
    ratio = networks.parameters(teachers) / networks.parameters(student)
    assert result.facts["compression_ratio"] == pytest.approx(ratio, abs=0.01)
    json.dumps(result.facts)


def test_only_weighted_terms_are_reported(make, distill_params, teacher):
    params = replace(distill_params, losses={"kl": 1.0, "highfreq": 0.0})
    result = distill.run(make("distill", params, teacher=teacher))
    assert [name for name in result.metrics if name.endswith("_loss")] == ["kl_loss"]


def test_stage_2_starts_from_its_parent_students_weights(make, distill_params, teacher):
    first = make("distill", distill_params, teacher=teacher)
    distill.run(first)
    parent, _ = networks.load(first.output)
    second = make("distill", distill_params, teacher=teacher, student=first.output)
    student = distill._student(second, distill_params, dataset.read(second.input(stage="prepare").folder))
    assert all(
        torch.equal(a, b) for a, b in zip(student.state_dict().values(), parent.state_dict().values(), strict=True)
    )


def test_stage_2_with_a_different_network_is_refused(make, distill_params, teacher):
    task = make("distill", distill_params, teacher=teacher, student=teacher)
    with pytest.raises(PokeflowError, match="the same network for both stages"):
        distill.run(task)


def test_the_student_must_have_the_teachers_embedding_size(make, distill_params, teacher):
    params = replace(distill_params, network=replace(CNN, embedding_dim=8))
    with pytest.raises(PokeflowError, match=r"network\.embedding_dim: 8, but the teacher's is 16"):
        distill.run(make("distill", params, teacher=teacher))


def test_teacher_with_other_preprocessing_is_refused(make, distill_params, teacher, tmp_path):
    write_data(tmp_path / "data", spec=Preprocessing(SIZE, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match="preprocessing"):
        distill.run(make("distill", distill_params, teacher=teacher))
    assert preprocessing.read(teacher).mean != (0.5, 0.5, 0.5)


def test_distillation_without_a_teacher_is_refused(make, distill_params):
    with pytest.raises(LookupError, match="teacher"):
        distill.run(make("distill", distill_params))


def test_self_distillation_has_no_gap(make, distill_params, teacher, data):
    params = replace(distill_params, network=VIT, losses={"kl": 1.0})
    task = make("distill", params, teacher=teacher)
    network, _ = networks.load(teacher)
    student, prepared, _ = learner(teacher, data, params)
    bank = evaluate.embed(network, prepared.references, range(20), prepared.preprocessing, "x")
    taught = evaluate.embed(network, prepared.query_images, evaluate.validation(prepared), prepared.preprocessing, "x")
    metrics = distill.figures(student, network, prepared, bank, taught)
    assert metrics["distillation_gap"] == 0
    assert metrics["cosine_similarity"] == pytest.approx(1)
    assert metrics["kl_loss"] == pytest.approx(0, abs=1e-5)
    assert task.output.is_dir()
