"""pokeflow's PyTorch plugin: trains a teacher and distils students, with timm networks."""

from collections.abc import Iterable

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_torch.params import DistillParams, TrainParams, check_distill, check_train, fingerprint


def _train(task: Task) -> Result:
    from pokeflow_torch.train import run

    return run(task)


def _distill(task: Task) -> Result:
    from pokeflow_torch.distill import run

    return run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Stages ``train`` and ``distill`` as backend ``torch``."""
    return (
        Backend("torch", "train", _train, TrainParams, revision="2", check=check_train, fingerprint=fingerprint),
        Backend(
            "torch", "distill", _distill, DistillParams, revision="2", check=check_distill, fingerprint=fingerprint
        ),
    )
