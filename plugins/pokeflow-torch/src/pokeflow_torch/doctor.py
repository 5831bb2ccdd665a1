"""What ``pokeflow doctor`` tells of the accelerators of this machine."""

from collections.abc import Iterator


def check() -> Iterator[tuple[str, str, str]]:
    """Yield a row of status, name and text: the accelerators that networks are trained on."""
    import torch

    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield "ok", "accelerator", ", ".join(found) or "none: networks run on the CPU"
