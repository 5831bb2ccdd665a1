"""Test the student's learner with its frozen teacher."""

import torch

from pokeflow_torch import evaluate, learners

from .conftest import ALL, learner


def test_weighted_terms_add_up_to_the_loss(teacher, data, distill_params):
    student, prepared, rows = learner(teacher, data, distill_params)
    images = next(evaluate.batches(prepared.references, rows, prepared.preprocessing, torch.device("cpu")))
    terms = student(images, torch.arange(len(rows)))
    wanted = sum(weight * terms[f"{name}_loss"] for name, weight in ALL.items())
    torch.testing.assert_close(terms["loss"], wanted)


def test_teacher_is_frozen_and_not_saved(teacher, data, distill_params):
    student, prepared, rows = learner(teacher, data, distill_params)
    inner = student._teacher[0]
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    student.train()
    images = next(evaluate.batches(prepared.references, rows, prepared.preprocessing, torch.device("cpu")))
    student(images, torch.arange(len(rows)))["loss"].backward()
    assert not inner.training
    assert all(weight.grad is None for weight in inner.parameters())
    assert all(torch.equal(before[name], value) for name, value in inner.state_dict().items())
    assert not any("teacher" in name for name in student.state_dict())


def test_teacher_tokens_are_standardized_over_its_references(teacher, data, distill_params):
    student, prepared, rows = learner(teacher, data, distill_params)
    images = next(evaluate.batches(prepared.references, rows, prepared.preprocessing, torch.device("cpu")))
    with torch.no_grad():
        tokens = (student._teacher[0](images)[1] - student.mean) / student.deviation
    torch.testing.assert_close(tokens.mean((0, 2, 3)), torch.zeros(24), atol=1e-3, rtol=0)
    torch.testing.assert_close(tokens.var((0, 2, 3), unbiased=False), torch.ones(24), atol=1e-2, rtol=0)


def test_different_grids_are_compared_on_the_coarser_one():
    fine, coarse = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    student, teachers = learners._match_grids(fine, coarse)
    assert student.shape == (2, 3, 2, 2)
    assert torch.equal(teachers, coarse)
    torch.testing.assert_close(student[..., 0, 0], fine[..., :2, :2].mean((2, 3)))
