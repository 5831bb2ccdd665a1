"""pokeflow's PyTorch plugin: trains a teacher and distils students, with timm networks, and profiles their training."""

from collections.abc import Iterable

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_torch.params import (
    DistillParams,
    ProfileParams,
    TrainParams,
    check_distill,
    check_profile,
    check_train,
    fingerprint,
)


def _train(task: Task) -> Result:
    from pokeflow_torch.train import run

    return run(task)


def _distill(task: Task) -> Result:
    from pokeflow_torch.distill import run

    return run(task)


def _profile(task: Task) -> Result:
    from pokeflow_torch.profiling.run import run

    return run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Stages ``train``, ``distill`` and ``profile`` as backend ``torch``."""
    return (
        Backend("torch", "train", _train, TrainParams, revision="3", check=check_train, fingerprint=fingerprint),
        Backend(
            "torch", "distill", _distill, DistillParams, revision="3", check=check_distill, fingerprint=fingerprint
        ),
        # Its report says whose it is.
        Backend("torch", "profile", _profile, ProfileParams, check=check_profile, named=True, aside=True),
    )
