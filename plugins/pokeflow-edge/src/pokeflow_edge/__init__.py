"""The edge bundle: a compiled model packed for a small device, its signed releases, and the runtime that it carries."""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl
from pokeflow_edge.params import PackageParams, ReleaseParams


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """``package`` and ``release``, both named ``edge``. The code that is packed is part of a package's digest."""
    return [
        Backend(
            "edge",
            "package",
            run="pokeflow_edge.stages.package:run",
            params=PackageParams,
            check="pokeflow_edge.pack.check:check_package",
            fingerprint="pokeflow_edge.pack.code:fingerprint",
            named=True,
            aside=True,
        ),
        Backend(
            "edge",
            "release",
            run="pokeflow_edge.stages.release:run",
            params=ReleaseParams,
            named=True,
            aside=True,
        ),
    ]
