"""The edge bundle: a compiled model packed for a small device, its signed releases, and the runtime that it carries.

Nothing heavy is imported here: a backend's module is loaded when its first task runs.
"""

from collections.abc import Iterable

from pokeflow import Backend, Command, Result, Task, hookimpl
from pokeflow_edge.params import PackageParams, ReleaseParams, check_package


def _code(params: PackageParams) -> str:
    from pokeflow_edge.pack import code

    return code.fingerprint(params)


def _package(task: Task) -> Result:
    from pokeflow_edge.pack import make

    return make.run(task)


def _release(task: Task) -> Result:
    from pokeflow_edge.release import sign

    return sign.run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """``package`` and ``release``, both named ``edge``. The code that is packed is part of a package's digest."""
    return [
        Backend(
            "edge", "package", _package, PackageParams, check=check_package, fingerprint=_code, named=True, aside=True
        ),
        Backend("edge", "release", _release, ReleaseParams, named=True, aside=True),
    ]


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """``pokeflow package``."""
    where = "pokeflow_edge.commands.package"
    summary = "a compiled model as a signed release for small devices"
    return [Command("package", summary, f"{where}:run", f"{where}:arguments")]
