"""Subject of a profile: the learner of a model in its state at the end of training, and its last batches."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.schema import parse
from pokeflow.stages import PREPARE
from pokeflow.types import Input, Task
from pokeflow_torch import checkpoint, distributed, evaluate, networks
from pokeflow_torch.learners import DistillLearner, MarginLearner, centres, training_cards
from pokeflow_torch.loop import batches, epoch_order
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import DistillParams, Loop, TrainParams
from pokeflow_torch.step import Cards, Learner, StepSettings
from pokeflow_vision import dataset
from pokeflow_vision.dataset import Dataset

log = logging.getLogger(__name__)
PARAMS_OF_STAGE: dict[str, type[TrainParams | DistillParams]] = {"train": TrainParams, "distill": DistillParams}


@dataclass(frozen=True, slots=True)
class Subject:
    """A learner, the plan of its steps, the first step, and the training state to resume from.

    ``state`` is None if the training state was not kept or does not fit; ``began_at`` describes the initial state in
    words. ``left_out`` says which part of the training's step is not repeated, and why; None if nothing is left out.
    """

    learner: Learner
    plan: StepSettings
    loop: Loop
    first: int
    state: dict[str, Any] | None
    began_at: str
    left_out: str | None

    @property
    def batch(self) -> int:
        """Number of views per step, over all processes."""
        return batches(self.loop, len(self.plan.cards.images))[0]

    def steps(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number and the labels [B] of each step without end, from ``first``."""
        count = len(self.plan.cards.images)
        batch, per_epoch = batches(self.loop, count)
        step = self.first
        while True:
            epoch, at = divmod(step, per_epoch)
            yield step, epoch_order(self.loop, count, epoch)[at * batch : (at + 1) * batch]
            step += 1


def find_training(task: Task) -> tuple[Input, TrainParams | DistillParams]:
    """Return the finished task that trained the model, and its parameters.

    Raises:
        PokeflowError: If another backend or stage produced the model.
        ConfigError: If its recorded parameters are not valid.

    """
    training = task.inputs[0]
    kind = PARAMS_OF_STAGE.get(training.record.stage)
    if kind is None or training.record.backend != "torch":
        raise PokeflowError(
            f"{task.name}: {training.record.task} was trained by backend "
            f"{training.record.backend!r}; torch profiles only trainings of its own. "
            f"Set lineage.models.{task.model}.post_stages.profile: null."
        )
    faults: list[Fault] = []
    params = parse(kind, training.record.params, training.record.task, faults)
    if params is None or faults:
        raise ConfigError(faults)
    return training, params


def build(task: Task, accelerator: Accelerator, steps: int) -> Subject:
    """Prepare the last ``steps`` steps of the training for profiling, from its last state.

    Without its teacher among the inputs, a student is profiled under its margin loss alone.
    """
    training, params = find_training(task)
    data = dataset.read(task.input(stage=PREPARE).folder)
    cards = training_cards(data)
    torch.manual_seed(params.loop.seed)
    network, _ = networks.load(training.folder)
    network.to(accelerator.device)
    teacher = next((item for item in task.inputs[1:] if _is_teacher(item)), None)
    learner: Learner
    left_out = None
    if isinstance(params, DistillParams) and teacher is not None:
        learner = _student(network, teacher, data, cards, params, accelerator)
    else:
        learner = MarginLearner(network, centres(network, cards, data), params.margin)
        if isinstance(params, DistillParams):
            terms = [name for name, weight in params.losses.items() if weight > 0 and name != "task"]
            left_out = (
                f"the teacher's forward pass and the terms {', '.join(terms)}: the teacher is not among the inputs. "
                "The student's step is profiled under its margin loss"
            )
    state, began_at = _last_state(training, learner, complete=left_out is None)
    _, per_epoch = batches(params.loop, len(cards.images))
    total = per_epoch * params.loop.epochs
    first = max(0, total - steps)
    plan = StepSettings(cards, params.optim, params.augment, params.loop.seed, max(total, first + steps))
    return Subject(learner, plan, params.loop, first, state, began_at, left_out)


def _is_teacher(item: Input) -> bool:
    return item.record.type == "teacher" and item.record.stage in PARAMS_OF_STAGE


def _student(
    network: Embedder,
    teacher_input: Input,
    data: Dataset,
    cards: Cards,
    params: DistillParams,
    accelerator: Accelerator,
) -> Learner:
    teacher, _ = networks.load(teacher_input.folder)
    teacher.to(accelerator.device)
    spec = data.preprocessing
    bank = evaluate.embed(teacher, data.references, range(len(data.cards)), spec, "teacher's references")
    learner = DistillLearner(network, teacher, torch.from_numpy(bank), data.cards_of("train"), params)
    learner.standardize(evaluate.batches(cards.images, range(len(cards.images)), spec, accelerator.device))
    return learner


def _last_state(training: Input, learner: Learner, *, complete: bool) -> tuple[dict[str, Any] | None, str]:
    """Read the last training state, and return it with its description in words.

    Args:
        training: The finished training.
        learner: The learner to profile.
        complete: True if the learner has all parts of the training's learner.

    Returns:
        The state to resume from, or None. If a state exists but ``complete`` is False, the weights that fit are
        already loaded into ``learner``.

    """
    file = training.folder / checkpoint.FILE
    if not file.is_file():
        return None, "the shipped weights, with a new optimizer: the training's last state was not kept"
    # weights_only: loading a file must never run code.
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    if complete:
        return state, "the training's last state"
    current = learner.state_dict()
    fitting = {k: v for k, v in state["learner"].items() if k in current and current[k].shape == v.shape}
    learner.load_state_dict(fitting, strict=False)
    return None, "the training's last weights, with a new optimizer"


def accelerator(task: Task) -> Accelerator:
    """Create the accelerator with the precision of the training."""
    return distributed.create_accelerator(find_training(task)[1].loop.precision)
