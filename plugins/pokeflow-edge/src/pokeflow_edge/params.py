"""What YAML may say to the backends ``edge``; what types cannot show to be wrong tells ``pack.check``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackageParams:
    """What an edge bundle is for and needs.

    ``target`` is the hardware's name: a device takes no other target's updates. ``adapter`` is the target's module
    with ``opened(folder, spec, threads)``, which is packed as it is. ``requires`` are what pip installs on the device
    beside numpy and pillow; ``runtime_modules`` are modules that the adapter imports and that come otherwise, such as
    by apt. ``exclusive``: one process alone can hold the device, so the running service is stopped while an update
    is tried. ``leave_out`` are patterns of files of the compiled model that no device needs.

    ``top`` matches answer a picture of at most ``max_bytes`` and, before it is decoded, ``max_pixels``: a phone's 24
    megapixels, at up to ten bytes each.
    ``selftest`` pictures go along with their embeddings; a device must come within ``selftest_cosine`` of these:
    kernels of another processor round differently.
    """

    target: str
    adapter: str
    requires: tuple[str, ...] = ()
    runtime_modules: tuple[str, ...] = ()
    exclusive: bool = False
    leave_out: tuple[str, ...] = (
        *("index.npz", "calibration_dataset.npy", "calibration_config.json", "compilation_report.json"),
        *("profiling_results.json", "*.har", "*.alls", "*.csv", "*.html", "*.log", "*.npz"),
    )
    top: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 25_000_000
    selftest: int = 4
    selftest_cosine: float = 0.95
