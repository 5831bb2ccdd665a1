"""The parameters of the plugin's backends, and what types cannot say about them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow_vision.preprocessing import PILLOW_LIMIT

_MODULE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_BOUND = r"\s*(===|[~=!<>]=|[<>])\s*[A-Za-z0-9.*+!_-]+\s*"
_REQUIREMENT = re.compile(rf"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?({_BOUND}(,{_BOUND})*)?")
_TARGET = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


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


def check_package(params: PackageParams) -> Iterable[tuple[str, str]]:
    """What is wrong with parameters, the adapter's imports included."""
    from pokeflow_edge.pack import code

    for name, most in (("top", 1000), ("max_bytes", 1_000_000_000), ("max_pixels", PILLOW_LIMIT), ("selftest", 64)):
        if not 1 <= getattr(params, name) <= most:
            yield name, f"{getattr(params, name)} is not between 1 and {most:,}"
    if not 0 < params.selftest_cosine < 1:
        yield "selftest_cosine", f"{params.selftest_cosine} is not between 0 and 1"
    if not _TARGET.fullmatch(params.target):
        yield "target", f"{params.target!r} is no name of lower-case letters, digits, '.', '_' and '-'"
    if bad := [word for word in params.requires if not _REQUIREMENT.fullmatch(word)]:
        yield "requires", f"{bad[0]!r} is no name of a distribution with bounds of its version"
    elif not _MODULE.fullmatch(params.adapter):
        yield "adapter", f"{params.adapter!r} is no module of a package, such as pokeflow_onnxruntime.network"
    else:
        yield from (("adapter", message) for message in code.faults(params))


@dataclass(frozen=True, slots=True)
class ReleaseParams:
    """Where a release is written, and the file with the key that signs it; null: see ``release.keys``."""

    to: str = field(default="release", metadata={"digest": False})
    key: str | None = field(default=None, metadata={"digest": False})
