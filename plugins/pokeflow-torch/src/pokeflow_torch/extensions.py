"""Entry points for losses and networks: looked up by name, and loaded only when they are used."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pokeflow.errors import PokeflowError

LOSSES, NETWORKS = "pokeflow_torch.losses", "pokeflow_torch.networks"
"""Entry point groups; an entry is a name and ``package.module:function``."""
OWN = "pokeflow-torch"


@cache
def entries(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name.

    Raises:
        PokeflowError: If two distributions register the same name.

    """
    by_name: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in by_name:
            distributions = " and ".join(sorted(map(_distribution, (entry, by_name[entry.name]))))
            raise PokeflowError(f"{group}: {distributions} both register {entry.name!r}. Uninstall one of them.")
        by_name[entry.name] = entry
    return by_name


def load(group: str, name: str) -> Callable[..., Any]:
    """Import the function of an entry point; ``name`` must be a key of ``entries(group)``.

    Raises:
        PokeflowError: If the entry point cannot be imported; the message names its distribution.

    """
    entry = entries(group)[name]
    try:
        function: Callable[..., Any] = entry.load()
    except Exception as error:  # a plugin's module may raise anything, and the message must name its distribution
        raise PokeflowError(
            f"{name}: {entry.value} of {_distribution(entry)} cannot be loaded ({type(error).__name__}: {error}). "
            "Fix or uninstall that distribution."
        ) from error
    return function


def own_names(group: str) -> tuple[str, ...]:
    """Return the sorted names of a group's entry points that this plugin itself registers."""
    return tuple(sorted(name for name, entry in entries(group).items() if _distribution(entry).startswith(f"{OWN} ")))


def origins(group: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return name, distribution and version of those ``names`` that other distributions register.

    This plugin's ``revision`` does not cover their code, so a digest must include the distribution and its version.
    """
    registered, own = entries(group), own_names(group)
    return tuple(
        f"{name} of {_distribution(registered[name])}" for name in sorted(names) if name in registered.keys() - own
    )


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
