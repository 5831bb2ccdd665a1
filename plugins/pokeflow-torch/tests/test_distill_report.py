import json
from dataclasses import replace

import pytest

from pokeflow_torch import distill_report, networks
from pokeflow_torch.params import Network
from pokeflow_torch.stages import distill

from .conftest import ALL


def report(task):
    return json.loads((task.output / distill_report.FILE).read_text())


def test_a_report_tells_who_taught_whom_by_what_and_with_which_result(make, distill_params, teacher):
    task = make("distill", distill_params, teacher=teacher)
    result = distill.run(task)
    told = report(task)
    teachers, described = networks.load(teacher)
    assert told["teacher"]["task"] == "train:teacher"
    assert told["teacher"]["architecture"] == described.name
    assert told["teacher"]["parameters"] == networks.parameters(teachers)
    assert (told["teacher"]["digest"], told["teacher"]["content"]) == ("d", "c")
    assert told["student"]["parameters"] == result.facts["parameters"]
    assert told["compression_ratio"] == result.facts["compression_ratio"]
    assert told["losses"] == {
        "weights": ALL, "temperature": 4.0, "margin": {"angle": 0.1, "scale": 16, "centers": 2}
    }  # fmt: skip
    assert told["epochs"] == 2
    assert [row["epoch"] for row in told["history"]] == [1, 2]
    assert all({"train_loss", *(f"train_{term}_loss" for term in ALL)} <= set(row) for row in told["history"])
    assert told["final"] == {**result.metrics, "reasons": {}}
    gap = told["teacher"]["top1_accuracy"] - result.metrics["task_accuracy"]
    assert result.metrics["distillation_gap"] == pytest.approx(gap)
    assert told["protocol"] == result.facts["protocol"]


def test_the_same_task_gives_the_same_files(make, distill_params, teacher):
    contents = []
    for _ in range(2):
        task = make("distill", distill_params, teacher=teacher)
        distill.run(task)
        contents.append({file.name: file.read_bytes() for file in task.output.iterdir()})
    assert contents[0] == contents[1]
    text = contents[0][distill_report.FILE].decode()
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def test_where_a_student_begins_is_told(make, distill_params, teacher):
    first = make("distill", distill_params, teacher=teacher)
    distill.run(first)
    student = report(first)["student"]
    assert student["begins_at"] is None
    assert student["reasons"] == {"begins_at": "no student is among the inputs; training began at random weights"}
    second = make("distill", replace(distill_params, losses={"task": 1.0}), teacher=teacher, student=first.output)
    distill.run(second)
    told = report(second)
    assert told["student"]["begins_at"] == {"task": "distill:student", "digest": "d", "content": "c"}
    assert told["student"]["reasons"] == {}
    assert told["losses"]["weights"] == dict.fromkeys(ALL, 0.0) | {"task": 1.0}


def test_weights_from_elsewhere_are_told_without_their_path(make, distill_params):
    task = make("distill", distill_params)
    for network, began in (
        (Network("x", weights="/home/ash/secret.pt"), "weights from a local file"),
        (Network("x", pretrained=True), "timm's published weights"),
    ):
        place, reasons = distill_report._initial_student(task, network)
        assert place is None
        assert reasons["begins_at"].endswith(began)


def test_what_is_unknown_is_null_with_its_reason(make, distill_params, teacher, monkeypatch):
    task = make("distill", distill_params, teacher=teacher)
    figures = distill.figures

    def without(*arguments):
        return figures(*arguments) | {"artwork_top1_accuracy": None}

    monkeypatch.setattr(distill, "figures", without)
    distill.run(task)
    final = report(task)["final"]
    assert final["artwork_top1_accuracy"] is None
    assert "share their art" in final["reasons"]["artwork_top1_accuracy"]
