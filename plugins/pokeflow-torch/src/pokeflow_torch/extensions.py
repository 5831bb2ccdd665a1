"""Losses and networks that distributions bring: entry points, known by name and loaded when they are used."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pokeflow.errors import PokeflowError

LOSSES, NETWORKS = "pokeflow_torch.losses", "pokeflow_torch.networks"
"""Groups of entry points, each a name and ``package.module:function``."""
OWN = "pokeflow-torch"


@cache
def entries(group: str) -> Mapping[str, EntryPoint]:
    """Return a group's entry points by name; PokeflowError where two distributions bring the same name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in found:
            both = " and ".join(sorted(map(_distribution, (entry, found[entry.name]))))
            raise PokeflowError(f"{group}: {both} both bring {entry.name!r}. Uninstall one of them.")
        found[entry.name] = entry
    return found


def load(group: str, name: str) -> Callable[..., Any]:
    """Return the function behind a name that ``entries`` has; PokeflowError where it cannot be imported."""
    entry = entries(group)[name]
    try:
        function: Callable[..., Any] = entry.load()
    except Exception as error:  # whatever a plugin's module raises, whoever reads this must know whose it is
        raise PokeflowError(
            f"{name}: {entry.value} of {_distribution(entry)} cannot be loaded ({type(error).__name__}: {error}). "
            "Mend or uninstall that distribution."
        ) from error
    return function


def own(group: str) -> tuple[str, ...]:
    """Return the names that this plugin itself brings, sorted."""
    return tuple(sorted(name for name, entry in entries(group).items() if _distribution(entry).startswith(f"{OWN} ")))


def origins(group: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return name, distribution and version of those among ``names`` that other distributions bring.

    This plugin's ``revision`` says nothing of their code, so a digest needs to know whose code it was.
    """
    known, mine = entries(group), own(group)
    return tuple(f"{name} of {_distribution(known[name])}" for name in sorted(names) if name in known.keys() - mine)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
