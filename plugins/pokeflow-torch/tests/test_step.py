import pytest
import torch

from pokeflow_torch import step


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine_to_zero():
    rates = [step.rate(place, 100, 0.1) for place in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 1.0 == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001
    assert step.rate(0, 1, 1.0) > 0


def test_the_draws_of_a_step_follow_from_seed_step_and_process():
    def draw(*place):
        return torch.rand(4, generator=step.reseed(*place)), torch.rand(4)

    ours = draw(0, 7, 0)
    assert all(torch.equal(a, b) for a, b in zip(ours, draw(0, 7, 0), strict=True))
    for other in ((1, 7, 0), (0, 8, 0), (0, 7, 1)):
        assert not torch.equal(ours[0], draw(*other)[0])


def test_averaged_weights_forget_their_beginning_and_counters_are_copied():
    new, shadow = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(shadow.weight, 0.0)
    new.num_batches_tracked.fill_(7)
    step.average(shadow, new, 0.9, step=0)
    assert shadow.weight[0].item() == pytest.approx(0.9)
    step.average(shadow, new, 0.9, step=1000)
    assert shadow.weight[0].item() == pytest.approx(0.91)
    assert shadow.num_batches_tracked.item() == 7
    step.average(shadow, new, None, step=0)
    assert torch.equal(shadow.weight, new.weight)


def test_vectors_do_not_decay():
    layer = torch.nn.Linear(3, 2)
    decayed, kept = step.groups(layer, 0.1)
    assert decayed["params"] == [layer.weight]
    assert (kept["params"], kept["weight_decay"]) == ([layer.bias], 0.0)
