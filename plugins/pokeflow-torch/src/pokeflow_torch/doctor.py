"""Check of this machine's accelerators for ``pokeflow doctor``."""

from collections.abc import Iterator


def check() -> Iterator[tuple[str, str, str]]:
    """Yield one (status, name, text) row that lists the CUDA devices, or says that networks run on the CPU."""
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield "ok", "accelerator", ", ".join(devices) or "none: networks run on the CPU"
