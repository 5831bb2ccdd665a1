"""Parameters of the backends ``edge``; ``pack.check`` validates what types cannot express."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackageParams:
    """Parameters of an edge bundle.

    Attributes:
        target: Name of the hardware; a device accepts no updates for another target.
        adapter: Module of the target with ``open_network(folder, spec, threads)``, which is packed unchanged.
        requires: Requirements that pip installs on the device in addition to numpy, opencv, pillow and cryptography.
        runtime_modules: Modules that the adapter imports and that are installed otherwise, such as by apt.
        exclusive: Whether only one process can hold the device, so that the self-test of an update needs the running
            service to stop.
        leave_out: Patterns of files of the compiled model that no device needs.
        top: Number of matches in a response.
        max_bytes: Maximum size of a picture's file.
        max_pixels: Maximum number of pixels, checked before decoding: a phone's 24 megapixels, at up to ten bytes each.
        selftest: Number of pictures that are packed with their embeddings for the self-test.
        selftest_cosine: Minimum cosine between these embeddings and the device's: kernels of another processor round
            differently.

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
