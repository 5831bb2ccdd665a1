"""Edge bundles: compiled models packed for small devices, their signed releases, and the runtime on the device."""

from collections.abc import Iterable

from pokeflow import Backend, Command, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backend ``edge`` of the stage ``package``, whose digest includes the packed code."""
    return [
        Backend(
            "edge",
            "package",
            run="pokeflow_edge.stages.package:run",
            params="pokeflow_edge.params:PackageParams",
            check="pokeflow_edge.pack.check:check_package",
            fingerprint="pokeflow_edge.pack.code:fingerprint",
            identity_in_digest=True,
            terminal=True,
        ),
    ]


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the command ``pokeflow package``."""
    module = "pokeflow_edge.commands.package"
    summary = "package a compiled model as a signed release for small devices"
    return [Command("package", summary, f"{module}:run", f"{module}:add_arguments")]
