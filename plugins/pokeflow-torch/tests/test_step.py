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
from pokeflow_torch.step import Cards, Learner, Stepper, StepSettings

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
    """stepper(learner, phase, **optim) → a Stepper ready for its first step, on clean cards."""

    def make(learner=None, phase=None, strength=0.0, **optim):
        plan = StepSettings(cards, Optim(**{"lr": 0.1, "warmup": 0.0, **optim}), strength, 3, TOTAL)
        trainer = Stepper(machine, "train:m", learner or Recorder(), plan, **({"phase": phase} if phase else {}))
        trainer.begin()
        return trainer

    return make


LABELS = np.array([4, 1, 5])


def moments(trainer):
    """AdamW's first moments after one step: a tenth of the gradient that it received."""
    state = trainer.optimizer.state_dict()["state"]
    return torch.cat([state[index]["exp_avg"].flatten() for index in sorted(state)])


def test_gradient_over_the_limit_is_clipped(stepper):
    trainer = stepper(Recorder(1e4), clip=0.5)
    result = trainer.train_step(0, LABELS)
    assert result.norm.item() > 100
    assert (10 * moments(trainer)).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_gradient_under_the_limit_is_unchanged(stepper):
    trainer = stepper(Recorder(), clip=1e9)
    result = trainer.train_step(0, LABELS)
    assert (10 * moments(trainer)).norm().item() == pytest.approx(result.norm.item(), rel=1e-4)


def test_views_are_normalized_cards_of_the_batch(stepper, cards):
    learner = Recorder()
    trainer = stepper(learner)
    learner.eval()  # as a validation leaves it
    trainer.train_step(0, LABELS)
    ((images, labels, training),) = learner.received
    clean = torch.from_numpy(cards.images[LABELS]).permute(0, 3, 1, 2).float() / 255
    views = augment.views(clean, step.reseed(3, 0, 0), 0.0)
    wanted = (views - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(images, wanted)
    assert labels.tolist() == LABELS.tolist()
    assert training


def test_views_are_seeded_by_seed_and_step(stepper, monkeypatch):
    drawn = []

    def views(images, generator, strength):
        drawn.append((generator.initial_seed(), strength))
        return images

    monkeypatch.setattr(augment, "views", views)
    trainer = stepper(strength=0.7)
    trainer.train_step(0, LABELS)
    trainer.train_step(1, LABELS)
    assert drawn == [(step.reseed(3, n, 0).initial_seed(), 0.7) for n in (0, 1)]


def test_weights_move_by_the_scheduled_rate(stepper):
    learner = Recorder()
    trainer = stepper(learner, weight_decay=0.0, clip=1e9)
    before = learner.network.layer.weight.detach().clone()
    result = trainer.train_step(5, LABELS)
    assert result.lr == pytest.approx(0.1 * step.rate(5, TOTAL, 0.0))
    # AdamW's first step is as long as its rate, whatever the gradient.
    moved = (learner.network.layer.weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, result.lr), rtol=1e-3, atol=0)


class Half:
    """The first of two processes: it has the batch's even positions and never communicates with the other."""

    num_processes = 2

    def __init__(self, machine):
        self.machine = machine

    def __getattr__(self, name):
        return getattr(self.machine, name)


def test_larger_part_of_the_batch_weighs_more(stepper, machine, cards, monkeypatch):
    batch = np.array([4, 1, 5, 0, 2])
    alone = stepper().train_step(0, batch[::2])
    agreed = distributed.StepSummary({"loss": 1.0}, None)
    monkeypatch.setattr(distributed, "reduce_step", lambda *_: agreed)
    monkeypatch.setattr(distributed, "share_moments", lambda *_: None)
    half = Stepper(Half(machine), "train:m", Recorder(), StepSettings(cards, Optim(), 0.0, 3, TOTAL))
    half.begin()
    # It has three of the five views; an equal part would be a half.
    assert half.train_step(0, batch).norm.item() == pytest.approx(1.2 * alone.norm.item(), rel=1e-5)


def test_resumed_state_is_shared_with_other_processes(machine, cards, monkeypatch):
    shared = []
    monkeypatch.setattr(distributed, "share_moments", lambda _, optimizer: shared.append(optimizer))
    trainer = Stepper(machine, "train:m", Recorder(), StepSettings(cards, Optim(), 0.0, 3, TOTAL))
    trainer.begin()
    assert shared == [trainer.optimizer.optimizer]


def test_gradients_do_not_accumulate_over_steps(stepper):
    learner = Recorder()
    trainer = stepper(learner)
    trainer.train_step(0, LABELS)
    assert all(weight.grad is None or not weight.grad.any() for weight in learner.parameters())


def test_step_returns_all_terms_and_the_signal(stepper):
    learner = Recorder()
    result = stepper(learner).train_step(0, LABELS, lambda: 15)
    assert result.values["term"] == 7.0
    assert result.values["loss"] > 0
    assert result.signal == 15
    assert stepper().train_step(0, LABELS).signal is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_loss_raises_and_changes_no_weights(stepper, value):
    learner = Recorder(value)
    trainer = stepper(learner)
    before = [weight.detach().clone() for weight in learner.parameters()]
    with pytest.raises(PokeflowError, match=r"train:m: the loss is (nan|inf) at step 4 of 10\. Lower optim\.lr"):
        trainer.train_step(4, LABELS)
    assert all(torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))


def test_averaged_network_follows_the_decay(stepper):
    learner = Recorder()
    trainer = stepper(learner, ema=0.2)
    first = trainer.shadow.layer.weight.clone()
    trainer.train_step(9, LABELS)
    trained = learner.network.layer.weight.detach()
    torch.testing.assert_close(trainer.shadow.layer.weight, first + 0.8 * (trained - first))
    assert not trainer.shadow.training
    assert not any(weight.requires_grad for weight in trainer.shadow.parameters())


def test_without_averaging_the_trained_network_is_shipped(stepper):
    learner = Recorder()
    trainer = stepper(learner, ema=None)
    trainer.train_step(0, LABELS)
    assert torch.equal(trainer.shadow.layer.weight, learner.network.layer.weight)


def test_phases_run_in_order(stepper):
    seen = []

    @contextmanager
    def phase(name):
        seen.append(name)
        yield
        seen.append("end")

    stepper(phase=phase).train_step(0, LABELS)
    assert seen == [word for name in step.PHASES for word in (name, "end")]


def test_resumed_step_equals_the_uninterrupted_one(stepper, machine):
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


def test_batch_of_one_view_is_an_error(stepper):
    with pytest.raises(PokeflowError, match=r"loop\.batch_size: 1 views"):
        stepper().train_step(0, LABELS[:1])


def test_convolution_weights_use_channels_last(machine, cards):
    learner = Recorder()
    learner.network.convolutional = True
    learner.extra = nn.Conv2d(3, 4, 3)
    plan = StepSettings(cards, Optim(), 0.0, 3, TOTAL)
    trainer = Stepper(machine, "train:m", learner, plan)
    trainer.begin()
    trainer.train_step(0, LABELS)
    assert learner.received[0][0].is_contiguous(memory_format=torch.channels_last)
    assert learner.extra.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("saved", "scale"), [(None, 2.0), ({"scale": 8.0}, 8.0)])
def test_loss_scale_is_restored_from_the_saved_state(machine, cards, saved, scale):
    class Scaler:
        loaded = None

        def state_dict(self):
            return {"scale": 2.0}

        def load_state_dict(self, state):
            self.loaded = state

    machine.scaler = Scaler()
    trainer = Stepper(machine, "train:m", Recorder(), StepSettings(cards, Optim(), 0.0, 3, TOTAL))
    trainer.begin({**trainer.state(), "scaler": saved} if saved else None)
    assert machine.scaler.loaded == {"scale": scale}
    assert trainer.state()["scaler"] == {"scale": 2.0}


def test_rate_rises_linearly_and_falls_as_a_cosine():
    rates = [step.rate(position, 100, 0.1) for position in range(100)]
    assert rates[:10] == pytest.approx([(position + 1) / 11 for position in range(10)])
    assert rates[10] == 1.0 == max(rates)
    assert rates[10:] == pytest.approx([(1 + math.cos(math.pi * position / 90)) / 2 for position in range(90)])
    assert rates[55] == pytest.approx(0.5)
    assert step.rate(0, 1, 1.0) == 0.5
    assert step.rate(1, 1, 1.0) == 1.0


def test_random_state_follows_from_seed_step_and_process():
    def draw(*arguments):
        return torch.rand(4, generator=step.reseed(*arguments)), torch.rand(4)

    ours = draw(0, 7, 0)
    assert all(torch.equal(a, b) for a, b in zip(ours, draw(0, 7, 0), strict=True))
    for other in ((1, 7, 0), (0, 8, 0), (0, 7, 1)):
        theirs = draw(*other)
        assert not torch.equal(ours[0], theirs[0])
        assert not torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("decay", "position", "share"), [(0.9, 0, 0.9), (0.9, 2, 0.75), (0.9, 1000, 0.1), (None, 0, 1.0), (0.05, 0, 0.95)]
)
def test_averaging_decay_grows_to_its_limit(decay, position, share):
    new, shadow = nn.Linear(2, 2), nn.Linear(2, 2)
    old = shadow.weight.detach().clone()
    step.average(shadow, new, decay, position)
    torch.testing.assert_close(shadow.weight, old + share * (new.weight - old))


def test_counters_are_copied_not_averaged():
    new, shadow = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    new.num_batches_tracked.fill_(7)
    step.average(shadow, new, 0.9, step=0)
    assert shadow.num_batches_tracked.item() == 7


def test_vectors_have_no_decay_and_frozen_weights_are_excluded():
    layer, frozen = nn.Linear(3, 2), nn.Linear(3, 2).requires_grad_(False)
    decayed, kept = step.groups(nn.Sequential(layer, frozen), 0.1)
    assert (decayed["params"], decayed["weight_decay"]) == ([layer.weight], 0.1)
    assert (kept["params"], kept["weight_decay"]) == ([layer.bias], 0.0)
