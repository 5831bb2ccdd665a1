"""PyTorch plugin of pokeflow: training, distillation and profiling of timm networks."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Register backend ``torch`` for the stages ``train``, ``distill`` and ``profile``.

    The ``profile`` backend has ``identity_in_digest``: its report contains the name and version of the profiled model.
    """
    return [
        Backend(
            "torch",
            "train",
            run="pokeflow_torch.stages.train:run",
            params="pokeflow_torch.params:TrainParams",
            revision="4",
            check="pokeflow_torch.params:check_train",
            fingerprint="pokeflow_torch.params:fingerprint",
        ),
        Backend(
            "torch",
            "distill",
            run="pokeflow_torch.stages.distill:run",
            params="pokeflow_torch.params:DistillParams",
            revision="4",
            check="pokeflow_torch.params:check_distill",
            fingerprint="pokeflow_torch.params:fingerprint",
        ),
        Backend(
            "torch",
            "profile",
            run="pokeflow_torch.stages.profile:run",
            params="pokeflow_torch.params:ProfileParams",
            check="pokeflow_torch.params:check_profile",
            identity_in_digest=True,
            terminal=True,
        ),
    ]
