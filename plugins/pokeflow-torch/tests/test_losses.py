import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pokeflow import PokeflowError
from pokeflow_torch import extensions, losses
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


@pytest.fixture
def term(monkeypatch):
    """term(function) → the loss term of this function, as if a distribution registered it."""

    def load(function):
        entry = SimpleNamespace(value="own:term")
        monkeypatch.setattr(extensions, "entries", lambda group: {"own": entry})
        monkeypatch.setattr(extensions, "load", lambda group, name: function)
        return losses.load(["own"])["own"]

    return load


def test_term_receives_the_inputs_in_its_signature(term):
    loaded = term(lambda student, temperature=1.0, strength=0.5: student)
    assert loaded.inputs == ("student", "temperature")
    assert (loaded.needs_projector, loaded.needs_margin) == (False, False)
    loaded = term(lambda projected_tokens, margin_loss: projected_tokens)
    assert (loaded.needs_projector, loaded.needs_margin) == (True, True)


def test_unknown_input_is_an_error_that_names_the_first(term):
    with pytest.raises(PokeflowError, match=r"losses\.own: own:term.*'studnet'.*student") as raised:
        term(lambda studnet, labls: studnet)
    assert "labls" not in str(raised.value)


@pytest.mark.parametrize("name", TERMS)
def test_term_is_zero_only_where_student_equals_teacher(name):
    assert TERMS[name](Z_T, T_T).item() == pytest.approx(0, abs=1e-5)
    assert TERMS[name](Z_S, T_S).item() > 0.01


REACHED = {
    "feature": ("embedding", "tokens"),
    "kl": ("embedding",),
    "attention": ("tokens",),
    "highfreq": ("tokens",),
}
"""The student's outputs that each term trains."""


@pytest.mark.parametrize("name", TERMS)
def test_gradient_reaches_all_inputs_of_a_term_and_no_other(name):
    inputs = {"embedding": Z_S.clone().requires_grad_(), "tokens": T_S.clone().requires_grad_()}
    TERMS[name](*inputs.values()).backward()
    gradients = {part: value.grad for part, value in inputs.items()}
    assert {part for part, grad in gradients.items() if grad is not None} == set(REACHED[name])
    for part in REACHED[name]:
        # Every sample has a gradient: no term may ignore part of the batch.
        assert (gradients[part].flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_gradient_step_lowers_a_term(name):
    z, t = Z_S.clone().requires_grad_(), T_S.clone().requires_grad_()
    before = TERMS[name](z, t)
    before.backward()
    moved = [x.detach() if x.grad is None else x.detach() - 1e-2 * x.grad / x.grad.norm() for x in (z, t)]
    assert TERMS[name](*moved).item() < before.item()


def cosine(a, b):
    return (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())


def smooth_l1(a, b):
    distance = (a - b).abs()
    return torch.where(distance < 1, distance.square() / 2, distance - 0.5)


def test_feature_matches_its_formula():
    tokens = 0.9 * (1 - cosine(T_S, T_T)).mean() + 0.1 * smooth_l1(T_S, T_T).mean()
    wanted = (1 - cosine(Z_S, Z_T)).mean() + 0.5 * tokens
    torch.testing.assert_close(losses.feature(Z_S, Z_T, T_S, T_T), wanted)


def test_feature_is_the_embedding_term_when_tokens_agree():
    torch.testing.assert_close(losses.feature(Z_S, Z_T, T_T, T_T), (1 - cosine(Z_S, Z_T)).mean())


def test_feature_is_the_token_term_when_embeddings_agree():
    wanted = 0.45 * (1 - cosine(T_S, T_T)).mean() + 0.05 * smooth_l1(T_S, T_T).mean()
    torch.testing.assert_close(losses.feature(Z_T, Z_T, T_S, T_T), wanted)


def test_attention_matches_its_formula():
    def activity(tokens):
        squares = tokens.square().sum(1).flatten(1)
        return squares / squares.square().sum(1, keepdim=True).sqrt()

    wanted = (activity(T_S) - activity(T_T)).square().sum(1).mean()
    torch.testing.assert_close(losses.attention(T_S, T_T), wanted)


def test_highfreq_matches_its_formula():
    def detail(tokens):
        blocks = tokens.unflatten(3, (2, 2)).unflatten(2, (2, 2))
        return blocks - blocks.mean((3, 5), keepdim=True)

    torch.testing.assert_close(losses.highfreq(T_S, T_T), (detail(T_S) - detail(T_T)).abs().mean())


def test_highfreq_ignores_an_odd_last_row_and_column():
    student, teacher = random(2, 3, 5, 3, seed=1), random(2, 3, 5, 3, seed=2)
    even = losses.highfreq(student[..., :4, :2], teacher[..., :4, :2])
    assert losses.highfreq(student, teacher).item() == even.item()
    assert losses.highfreq(student[..., :2, :2], teacher[..., :2, :2]).item() != even.item()


@given(st.floats(0.1, 10), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_kl_ignores_embedding_length(a, b):
    kept = losses.kl(Z_S, Z_T, BANK, 4.0, 32.0)
    torch.testing.assert_close(losses.kl(a * Z_S, b * Z_T, BANK, 4.0, 32.0), kept, rtol=1e-3, atol=1e-5)


def test_kl_matches_hintons_formula():
    def soft(z):
        return (F.normalize(z) @ F.normalize(BANK).T * 32.0 / 4.0).softmax(1)

    p, q = soft(Z_T), soft(Z_S)
    wanted = (p * (p / q).log()).sum(1).mean() * 4.0**2
    torch.testing.assert_close(losses.kl(Z_S, Z_T, BANK, 4.0, 32.0), wanted)


def test_kl_gradient_does_not_vanish_at_high_temperature():
    def pull(temperature):
        z = Z_S.clone().requires_grad_()
        losses.kl(z, Z_T, BANK, temperature, 1.0).backward()
        return z.grad.norm().item()

    assert pull(64.0) == pytest.approx(pull(8.0), rel=0.1)


def test_attention_ignores_channel_order_but_not_position():
    shuffled = T_T[:, torch.randperm(5, generator=torch.Generator().manual_seed(0))] * -3
    assert losses.attention(shuffled, T_T).item() == pytest.approx(0, abs=1e-6)
    assert losses.attention(T_T.flip(-1), T_T).item() > 0.1


def test_attention_is_at_most_two():
    one, other = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    one[0, 0, 0, 0], other[0, 0, 1, 1] = 3.0, 5.0
    assert losses.attention(one, other).item() == pytest.approx(2.0)


def test_highfreq_ignores_smooth_differences():
    block = random(6, 5, 2, 2, seed=6).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert losses.highfreq(T_T + block, T_T).item() == pytest.approx(0, abs=1e-6)
    checkers = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    assert losses.highfreq(T_T + checkers, T_T).item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
def test_highfreq_of_a_grid_without_detail_is_an_error(grid):
    with pytest.raises(PokeflowError, match=f"highfreq: a token map of {grid[0]}×{grid[1]} is too small for this term"):
        losses.highfreq(torch.zeros(2, 3, *grid), torch.ones(2, 3, *grid))


def test_highfreq_accepts_a_two_by_two_grid():
    assert losses.highfreq(random(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)).item() > 0


def test_attention_of_a_single_cell_is_an_error():
    with pytest.raises(PokeflowError, match="attention"):
        losses.attention(torch.ones(2, 3, 1, 1), torch.ones(2, 3, 1, 1))
    for grid in ((1, 2), (2, 1)):
        assert losses.attention(random(2, 3, *grid, seed=1), random(2, 3, *grid, seed=2)).item() > 0


def test_mismatched_token_shapes_are_an_error():
    with pytest.raises(PokeflowError, match="attention"):
        losses.attention(torch.ones(2, 3, 2, 2), torch.ones(2, 3, 4, 4))
    with pytest.raises(PokeflowError, match="attention"):
        losses.attention(torch.ones(2, 3, 2, 4), torch.ones(2, 3, 4, 2))
    for term in (losses.highfreq, lambda s, t: losses.feature(Z_S[:2], Z_T[:2], s, t)):
        with pytest.raises(PokeflowError, match="tokens"):
            term(torch.ones(2, 1, 4, 4), torch.ones(2, 3, 4, 4))


def test_kl_needs_a_bank_of_at_least_two():
    with pytest.raises(PokeflowError, match="bank"):
        losses.kl(Z_S, Z_T, BANK[:1], 4.0, 32.0)
    assert losses.kl(Z_S, Z_T, BANK[:2], 4.0, 32.0).item() > 0


@pytest.mark.parametrize("centers", [1, 3])
def test_task_is_arcface_with_centers_at_the_proxies(centers):
    proxies = random(4, 8, seed=7)
    criterion = losses.arcface(Margin(angle=0.2, scale=16.0, centers=centers), proxies)
    embeddings, labels = F.normalize(proxies) + 0.2 * random(4, 8, seed=8), torch.arange(4)
    cosine = F.normalize(embeddings) @ F.normalize(criterion.W.T).T
    cosine = cosine.view(4, 4, centers).amax(2)
    own = (cosine.diagonal().acos() + 0.2).cos()
    logits = 16.0 * (cosine - cosine.diagonal().diag() + own.diag())
    torch.testing.assert_close(criterion(embeddings, labels), F.cross_entropy(logits, labels), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(criterion.W.T[::centers], F.normalize(proxies))


def test_margin_increases_the_task_loss():
    embeddings, labels, proxies = random(4, 8, seed=8), torch.arange(4), random(4, 8, seed=7)
    easy, hard = (losses.arcface(Margin(angle, 16.0, 1), proxies)(embeddings, labels).item() for angle in (0.0, 0.3))
    assert hard > easy
    assert math.isfinite(hard)


def test_further_centers_start_near_the_first_with_fixed_noise():
    proxies = random(2, 4, seed=7)
    criterion = losses.arcface(Margin(angle=0.2, scale=16.0, centers=3), proxies)
    centers = criterion.W.T.detach().view(2, 3, 4)
    noise = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).view(2, 3, 4) * 0.1 / 4**0.5
    noise[:, 0] = 0
    torch.testing.assert_close(centers, F.normalize(proxies)[:, None] + noise)
    # Literal values: checkpoints of earlier versions rely on the same initial centres.
    torch.testing.assert_close(centers[0, 1], torch.tensor([-0.0456, 0.5063, 0.5523, -0.7744]), rtol=0, atol=1e-4)


def test_centers_do_not_depend_on_the_random_state():
    centers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        centers.append(losses.arcface(Margin(centers=2), random(4, 8)).W)
    assert torch.equal(*centers)


def test_centers_are_trained_copies_of_the_proxies():
    proxies = random(4, 8, seed=7).requires_grad_()
    kept = proxies.detach().clone()
    criterion = losses.arcface(Margin(centers=2), proxies)
    criterion(random(4, 8, seed=8), torch.arange(4)).backward()
    assert criterion.W.grad.abs().max() > 0
    assert proxies.grad is None
    assert torch.equal(proxies, kept)
