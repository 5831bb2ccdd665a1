import json
from dataclasses import replace

import pytest

from pokeflow_torch import distill_report, networks
from pokeflow_torch.params import Network
from pokeflow_torch.stages import distill

from .conftest import ALL


def report(task):
    return json.loads((task.output / distill_report.FILE).read_text())


def test_report_names_teacher_student_losses_and_results(make, distill_params, teacher):
    task = make("distill", distill_params, teacher=teacher)
    result = distill.run(task)
    document = report(task)
    teachers, described = networks.load(teacher)
    assert document["teacher"]["task"] == "train:teacher"
    assert document["teacher"]["architecture"] == described.name
    assert document["teacher"]["parameters"] == networks.parameters(teachers)
    assert (document["teacher"]["digest"], document["teacher"]["content"]) == ("d", "c")
    assert document["student"]["parameters"] == result.facts["parameters"]
    assert document["compression_ratio"] == result.facts["compression_ratio"]
    assert document["losses"] == {
        "weights": ALL, "temperature": 4.0, "margin": {"angle": 0.1, "scale": 16, "centers": 2}
    }  # fmt: skip
    assert document["epochs"] == 2
    assert [row["epoch"] for row in document["history"]] == [1, 2]
    assert all({"train_loss", *(f"train_{term}_loss" for term in ALL)} <= set(row) for row in document["history"])
    assert document["final"] == {**result.metrics, "reasons": {}}
    gap = document["teacher"]["top1_accuracy"] - result.metrics["task_accuracy"]
    assert result.metrics["distillation_gap"] == pytest.approx(gap)
    assert document["protocol"] == result.facts["protocol"]


def test_same_task_gives_identical_files(make, distill_params, teacher):
    contents = []
    for _ in range(2):
        task = make("distill", distill_params, teacher=teacher)
        distill.run(task)
        contents.append({file.name: file.read_bytes() for file in task.output.iterdir()})
    assert contents[0] == contents[1]
    text = contents[0][distill_report.FILE].decode()
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def test_report_names_the_students_initial_weights(make, distill_params, teacher):
    first = make("distill", distill_params, teacher=teacher)
    distill.run(first)
    student = report(first)["student"]
    assert student["begins_at"] is None
    assert student["reasons"] == {"begins_at": "no student is among the inputs; training began at random weights"}
    second = make("distill", replace(distill_params, losses={"task": 1.0}), teacher=teacher, student=first.output)
    distill.run(second)
    document = report(second)
    assert document["student"]["begins_at"] == {"task": "distill:student", "digest": "d", "content": "c"}
    assert document["student"]["reasons"] == {}
    assert document["losses"]["weights"] == dict.fromkeys(ALL, 0.0) | {"task": 1.0}


def test_initial_weights_are_described_without_their_path(make, distill_params, tmp_path):
    task = make("distill", distill_params)
    file = tmp_path / "w.pt"
    file.write_bytes(b"")
    student, reasons = distill_report._initial_student(task, Network("x", weights=str(file)))
    assert student is None
    assert "training began at a local file: w.pt, SHA-256 e3b0c442" in reasons["begins_at"]


def test_unknown_metric_is_null_with_its_reason(make, distill_params, teacher, monkeypatch):
    task = make("distill", distill_params, teacher=teacher)
    figures = distill.figures

    def without(*arguments):
        return figures(*arguments) | {"artwork_top1_accuracy": None}

    monkeypatch.setattr(distill, "figures", without)
    distill.run(task)
    final = report(task)["final"]
    assert final["artwork_top1_accuracy"] is None
    assert "share their art" in final["reasons"]["artwork_top1_accuracy"]
