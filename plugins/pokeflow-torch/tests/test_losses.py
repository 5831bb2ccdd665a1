import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pokeflow import PokeflowError
from pokeflow_torch import losses
from pokeflow_torch.params import Margin


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


Z_S, Z_T = random(6, 8, seed=1), random(6, 8, seed=2)
T_S, T_T = random(6, 5, 4, 4, seed=3), random(6, 5, 4, 4, seed=4)
BANK = random(20, 8, seed=5)
TERMS = {
    "feature": lambda z, t: losses.feature(z, Z_T, t, T_T),
    "kl": lambda z, t: losses.kl(z, Z_T, BANK, 4.0, 32.0),
    "attention": lambda z, t: losses.attention(t, T_T),
    "highfreq": lambda z, t: losses.highfreq(t, T_T),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_zero_where_the_student_equals_the_teacher_and_only_there(name):
    assert TERMS[name](Z_T, T_T).item() == pytest.approx(0, abs=1e-5)
    assert TERMS[name](Z_S, T_S).item() > 0.01


@pytest.mark.parametrize("name", TERMS)
def test_a_term_moves_when_its_input_moves_and_sends_a_gradient(name):
    z, t = Z_S.clone().requires_grad_(), T_S.clone().requires_grad_()
    value = TERMS[name](z, t)
    value.backward()
    reached = [x.grad for x in (z, t) if x.grad is not None]
    assert any(grad.abs().max() > 0 for grad in reached)
    assert TERMS[name](Z_S + 0.1 * Z_T, T_S + 0.1 * T_T).item() != value.item()


@given(st.floats(0.1, 10), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_embedding_terms_ask_for_direction_not_length(a, b):
    kept = losses.kl(Z_S, Z_T, BANK, 4.0, 32.0)
    torch.testing.assert_close(losses.kl(a * Z_S, b * Z_T, BANK, 4.0, 32.0), kept, rtol=1e-3, atol=1e-5)


def test_kl_is_hintons_form_written_out():
    def soft(z):
        return (F.normalize(z) @ F.normalize(BANK).T * 32.0 / 4.0).softmax(1)

    p, q = soft(Z_T), soft(Z_S)
    wanted = (p * (p / q).log()).sum(1).mean() * 4.0**2
    torch.testing.assert_close(losses.kl(Z_S, Z_T, BANK, 4.0, 32.0), wanted)


def test_kl_keeps_its_gradient_at_high_temperatures():
    def pull(temperature):
        z = Z_S.clone().requires_grad_()
        losses.kl(z, Z_T, BANK, temperature, 1.0).backward()
        return z.grad.norm().item()

    assert pull(64.0) == pytest.approx(pull(8.0), rel=0.1)


def test_attention_compares_where_not_what():
    shuffled = T_T[:, torch.randperm(5, generator=torch.Generator().manual_seed(0))] * -3
    assert losses.attention(shuffled, T_T).item() == pytest.approx(0, abs=1e-6)
    assert losses.attention(T_T.flip(-1), T_T).item() > 0.1


def test_attention_is_bounded_by_two_because_the_maps_are_unit_vectors_without_negative_parts():
    one, other = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    one[0, 0, 0, 0], other[0, 0, 1, 1] = 3.0, 5.0
    assert losses.attention(one, other).item() == pytest.approx(2.0)


def test_highfreq_ignores_what_is_smooth():
    block = random(6, 5, 2, 2, seed=6).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert losses.highfreq(T_T + block, T_T).item() == pytest.approx(0, abs=1e-6)
    checkers = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    assert losses.highfreq(T_T + checkers, T_T).item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4)])
def test_highfreq_of_a_grid_without_detail_is_an_error_not_zero(grid):
    with pytest.raises(PokeflowError, match="highfreq"):
        losses.highfreq(torch.zeros(2, 3, *grid), torch.ones(2, 3, *grid))


def test_attention_of_a_single_place_is_an_error_not_zero():
    with pytest.raises(PokeflowError, match="attention"):
        losses.attention(torch.ones(2, 3, 1, 1), torch.ones(2, 3, 1, 1))


def test_tokens_of_different_shape_are_an_error_not_a_broadcast():
    with pytest.raises(PokeflowError, match="attention"):
        losses.attention(torch.ones(2, 3, 2, 2), torch.ones(2, 3, 4, 4))
    for term in (losses.highfreq, lambda s, t: losses.feature(Z_S[:2], Z_T[:2], s, t)):
        with pytest.raises(PokeflowError, match="tokens"):
            term(torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4))


def test_kl_without_a_bank_is_an_error():
    with pytest.raises(PokeflowError, match="bank"):
        losses.kl(Z_S, Z_T, BANK[:1], 4.0, 32.0)


@pytest.mark.parametrize("centers", [1, 3])
def test_task_is_arcface_with_its_centers_begun_at_the_proxies(centers):
    proxies = random(4, 8, seed=7)
    criterion = losses.arcface(Margin(angle=0.2, scale=16.0, centers=centers), proxies)
    embeddings, labels = F.normalize(proxies) + 0.2 * random(4, 8, seed=8), torch.arange(4)
    cosine = F.normalize(embeddings) @ F.normalize(criterion.W.T).T
    cosine = cosine.view(4, 4, centers).amax(2)
    own = (cosine.diagonal().acos() + 0.2).cos()
    logits = 16.0 * (cosine - cosine.diagonal().diag() + own.diag())
    torch.testing.assert_close(criterion(embeddings, labels), F.cross_entropy(logits, labels), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(criterion.W.T[::centers], F.normalize(proxies))


def test_a_margin_makes_the_task_harder():
    embeddings, labels, proxies = random(4, 8, seed=8), torch.arange(4), random(4, 8, seed=7)
    easy, hard = (losses.arcface(Margin(angle, 16.0, 1), proxies)(embeddings, labels).item() for angle in (0.0, 0.3))
    assert hard > easy
    assert math.isfinite(hard)
