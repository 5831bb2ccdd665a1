"""The edge bundle: a compiled model packed for a small device, its signed releases, and the runtime that it carries."""

from collections.abc import Iterable

from pokeflow import Backend, Command, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return stage ``package`` as backend ``edge``. The code that is packed is part of a package's digest."""
    return [
        Backend(
            "edge",
            "package",
            run="pokeflow_edge.stages.package:run",
            params="pokeflow_edge.params:PackageParams",
            check="pokeflow_edge.pack.check:check_package",
            fingerprint="pokeflow_edge.pack.code:fingerprint",
            named=True,
            aside=True,
        ),
    ]


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return ``pokeflow package``."""
    where = "pokeflow_edge.commands.package"
    summary = "a compiled model as a signed release for small devices"
    return [Command("package", summary, f"{where}:run", f"{where}:arguments")]
