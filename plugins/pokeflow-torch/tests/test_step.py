import copy
import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pokeflow import PokeflowError
from pokeflow_torch import augment, distributed, step
from pokeflow_torch.params import Optim
from pokeflow_torch.step import Cards, Learner, Plan, Stepper

MEAN, STD = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
TOTAL = 10


class Linear(nn.Module):
    """A network with a weight that decays and a bias that does not."""

    convolutional = False

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)


class Recorder(Learner):
    """A learner whose loss is ``size`` times the squared output; it keeps the views and labels that it receives."""

    def __init__(self, size=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.network, self.size, self.received = Linear(), size, []

    def forward(self, images, labels):
        self.received.append((images, labels, self.training))
        output = self.network.layer(images.mean((2, 3)))
        return {"loss": self.size * output.square().sum(1).mean(), "term": output.sum() * 0 + 7.0}


@pytest.fixture
def machine():
    return Accelerator(cpu=True)


@pytest.fixture
def cards():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    return Cards(images, MEAN, STD)


@pytest.fixture
def stepper(machine, cards):
    """stepper(learner, phase, **optim) → one that is ready for its first step, on clean cards."""

    def make(learner=None, phase=None, strength=0.0, **optim):
        plan = Plan(cards, Optim(**{"lr": 0.1, "warmup": 0.0, **optim}), strength, 3, TOTAL)
        made = Stepper(machine, "train:m", learner or Recorder(), plan, **({"phase": phase} if phase else {}))
        made.begin()
        return made

    return make


LABELS = np.array([4, 1, 5])


def moments(made):
    """AdamW's first moments after one step: a tenth of the gradient that it received."""
    state = made.optimizer.state_dict()["state"]
    return torch.cat([state[place]["exp_avg"].flatten() for place in sorted(state)])


def test_a_gradient_over_the_limit_is_scaled_to_the_limit(stepper):
    made = stepper(Recorder(1e4), clip=0.5)
    result = made.train_step(0, LABELS)
    assert result.norm.item() > 100
    assert (10 * moments(made)).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_a_gradient_under_the_limit_is_left_alone(stepper):
    made = stepper(Recorder(), clip=1e9)
    result = made.train_step(0, LABELS)
    assert (10 * moments(made)).norm().item() == pytest.approx(result.norm.item(), rel=1e-4)


def test_views_are_the_cards_of_the_batch_normalised_by_the_data_sets_mean_and_deviation(stepper, cards):
    learner = Recorder()
    made = stepper(learner)
    learner.eval()  # as a validation leaves it
    made.train_step(0, LABELS)
    ((images, labels, training),) = learner.received
    clean = torch.from_numpy(cards.images[LABELS]).permute(0, 3, 1, 2).float() / 255
    made = augment.views(clean, step.reseed(3, 0, 0), 0.0)
    wanted = (made - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(images, wanted)
    assert labels.tolist() == LABELS.tolist()
    assert training


def test_views_of_a_step_are_drawn_from_seed_and_step(stepper, monkeypatch):
    drawn = []

    def views(images, generator, strength):
        drawn.append((generator.initial_seed(), strength))
        return images

    monkeypatch.setattr(augment, "views", views)
    made = stepper(strength=0.7)
    made.train_step(0, LABELS)
    made.train_step(1, LABELS)
    assert drawn == [(step.reseed(3, n, 0).initial_seed(), 0.7) for n in (0, 1)]


def test_a_step_moves_the_weights_at_the_rate_of_its_position(stepper):
    learner = Recorder()
    made = stepper(learner, weight_decay=0.0, clip=1e9)
    before = learner.network.layer.weight.detach().clone()
    result = made.train_step(5, LABELS)
    assert result.lr == pytest.approx(0.1 * step.rate(5, TOTAL, 0.0))
    # AdamW's first step is as long as its rate, whatever the gradient.
    moved = (learner.network.layer.weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, result.lr), rtol=1e-3, atol=0)


class Half:
    """The first of two processes, which has the batch's even positions and hears nothing of the other one."""

    num_processes = 2

    def __init__(self, machine):
        self.machine = machine

    def __getattr__(self, name):
        return getattr(self.machine, name)


def test_a_process_with_a_larger_part_of_the_batch_has_a_larger_weight(stepper, machine, cards, monkeypatch):
    batch = np.array([4, 1, 5, 0, 2])
    alone = stepper().train_step(0, batch[::2])
    agreed = distributed.StepSummary({"loss": 1.0}, None)
    monkeypatch.setattr(distributed, "reduce_step", lambda *_: agreed)
    monkeypatch.setattr(distributed, "share_moments", lambda *_: None)
    half = Stepper(Half(machine), "train:m", Recorder(), Plan(cards, Optim(), 0.0, 3, TOTAL))
    half.begin()
    # Three of five views, where an equal part were a half.
    assert half.train_step(0, batch).norm.item() == pytest.approx(1.2 * alone.norm.item(), rel=1e-5)


def test_a_resumed_state_is_shared_with_the_other_processes(machine, cards, monkeypatch):
    shared = []
    monkeypatch.setattr(distributed, "share_moments", lambda _, optimizer: shared.append(optimizer))
    made = Stepper(machine, "train:m", Recorder(), Plan(cards, Optim(), 0.0, 3, TOTAL))
    made.begin()
    assert shared == [made.optimizer.optimizer]


def test_gradients_do_not_add_up_over_steps(stepper):
    learner = Recorder()
    made = stepper(learner)
    made.train_step(0, LABELS)
    assert all(weight.grad is None or not weight.grad.any() for weight in learner.parameters())


def test_a_step_returns_every_term_and_the_signal_that_arrived(stepper):
    learner = Recorder()
    result = stepper(learner).train_step(0, LABELS, lambda: 15)
    assert result.values["term"] == 7.0
    assert result.values["loss"] > 0
    assert result.signal == 15
    assert stepper().train_step(0, LABELS).signal is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing_and_is_an_error(stepper, value):
    learner = Recorder(value)
    made = stepper(learner)
    before = [weight.detach().clone() for weight in learner.parameters()]
    with pytest.raises(PokeflowError, match=r"train:m: the loss is (nan|inf) at step 4 of 10\. Lower optim\.lr"):
        made.train_step(4, LABELS)
    assert all(torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))


def test_the_averaged_network_follows_the_weights_by_its_decay(stepper):
    learner = Recorder()
    made = stepper(learner, ema=0.2)
    first = made.shadow.layer.weight.clone()
    made.train_step(9, LABELS)
    trained = learner.network.layer.weight.detach()
    torch.testing.assert_close(made.shadow.layer.weight, first + 0.8 * (trained - first))
    assert not made.shadow.training
    assert not any(weight.requires_grad for weight in made.shadow.parameters())


def test_the_shipped_network_is_the_trained_one_where_nothing_is_averaged(stepper):
    learner = Recorder()
    made = stepper(learner, ema=None)
    made.train_step(0, LABELS)
    assert torch.equal(made.shadow.layer.weight, learner.network.layer.weight)


def test_phases_follow_one_another_in_order_and_none_is_left_out(stepper):
    seen = []

    @contextmanager
    def phase(name):
        seen.append(name)
        yield
        seen.append("end")

    stepper(phase=phase).train_step(0, LABELS)
    assert seen == [word for name in step.PHASES for word in (name, "end")]


def test_a_step_after_a_saved_state_is_the_step_that_would_have_followed(stepper, machine):
    straight = stepper(ema=0.5)
    straight.train_step(0, LABELS)
    saved = copy.deepcopy(straight.state())
    straight.train_step(1, LABELS)
    resumed = Stepper(machine, "train:m", Recorder(), straight.plan)
    resumed.begin(saved)
    resumed.train_step(1, LABELS)
    for part in ("learner", "shadow"):
        for name, value in straight.state()[part].items():
            assert torch.equal(value, resumed.state()[part][name]), (part, name)
    assert torch.equal(moments(straight), moments(resumed))


def test_a_batch_of_one_view_is_an_error(stepper):
    with pytest.raises(PokeflowError, match=r"loop\.batch_size: 1 views"):
        stepper().train_step(0, LABELS[:1])


def test_weights_of_convolutions_lie_channels_last(machine, cards):
    learner = Recorder()
    learner.network.convolutional = True
    learner.extra = nn.Conv2d(3, 4, 3)
    plan = Plan(cards, Optim(), 0.0, 3, TOTAL)
    made = Stepper(machine, "train:m", learner, plan)
    made.begin()
    made.train_step(0, LABELS)
    assert learner.received[0][0].is_contiguous(memory_format=torch.channels_last)
    assert learner.extra.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("saved", "scale"), [(None, 2.0), ({"scale": 8.0}, 8.0)])
def test_the_scale_of_half_precision_is_the_saved_one_or_stays(machine, cards, saved, scale):
    class Scaler:
        loaded = None

        def state_dict(self):
            return {"scale": 2.0}

        def load_state_dict(self, state):
            self.loaded = state

    machine.scaler = Scaler()
    made = Stepper(machine, "train:m", Recorder(), Plan(cards, Optim(), 0.0, 3, TOTAL))
    made.begin({**made.state(), "scaler": saved} if saved else None)
    assert machine.scaler.loaded == {"scale": scale}
    assert made.state()["scaler"] == {"scale": 2.0}


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine_to_zero():
    rates = [step.rate(place, 100, 0.1) for place in range(100)]
    assert rates[:10] == pytest.approx([(place + 1) / 11 for place in range(10)])
    assert rates[10] == 1.0 == max(rates)
    assert rates[10:] == pytest.approx([(1 + math.cos(math.pi * place / 90)) / 2 for place in range(90)])
    assert rates[55] == pytest.approx(0.5)
    assert step.rate(0, 1, 1.0) == 0.5
    assert step.rate(1, 1, 1.0) == 1.0


def test_the_draws_of_a_step_follow_from_seed_step_and_process():
    def draw(*place):
        return torch.rand(4, generator=step.reseed(*place)), torch.rand(4)

    ours = draw(0, 7, 0)
    assert all(torch.equal(a, b) for a, b in zip(ours, draw(0, 7, 0), strict=True))
    for other in ((1, 7, 0), (0, 8, 0), (0, 7, 1)):
        theirs = draw(*other)
        assert not torch.equal(ours[0], theirs[0])
        assert not torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("decay", "place", "share"), [(0.9, 0, 0.9), (0.9, 2, 0.75), (0.9, 1000, 0.1), (None, 0, 1.0), (0.05, 0, 0.95)]
)
def test_an_average_takes_this_share_of_the_new_weights(decay, place, share):
    new, shadow = nn.Linear(2, 2), nn.Linear(2, 2)
    old = shadow.weight.detach().clone()
    step.average(shadow, new, decay, place)
    torch.testing.assert_close(shadow.weight, old + share * (new.weight - old))


def test_counters_are_copied_and_not_averaged():
    new, shadow = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    new.num_batches_tracked.fill_(7)
    step.average(shadow, new, 0.9, step=0)
    assert shadow.num_batches_tracked.item() == 7


def test_vectors_do_not_decay_and_frozen_weights_are_no_parameters():
    layer, frozen = nn.Linear(3, 2), nn.Linear(3, 2).requires_grad_(False)
    decayed, kept = step.groups(nn.Sequential(layer, frozen), 0.1)
    assert (decayed["params"], decayed["weight_decay"]) == ([layer.weight], 0.1)
    assert (kept["params"], kept["weight_decay"]) == ([layer.bias], 0.0)
