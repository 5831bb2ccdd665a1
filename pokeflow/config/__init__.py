"""Configuration: YAML and overrides come in, a ``Flow`` of plain, checked data goes out.

Hydra composes and OmegaConf resolves; both end inside this package, and load only when something is composed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pokeflow.config._search_path import GROUPS, conf_dir, options, shipped_conf
from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow

if TYPE_CHECKING:  # what help need not load
    from pokeflow.config._choices import Choices
    from pokeflow.store import Store

__all__ = ["GROUPS", "choices", "composed", "conf_dir", "load", "load_store", "options", "shipped_conf"]


def choices(group: str, overrides: Sequence[str] = ()) -> "Choices":
    """The groups below a group (empty: the topmost ones), and its options, as the search path of overrides has them."""
    from pokeflow.config import _choices

    return _choices.choices(group, overrides)


def composed(overrides: Sequence[str] = ()) -> Any:
    """The configuration that overrides compose to, as plain data; neither resolved nor checked."""
    from pokeflow.config import _choices

    return _choices.composed(overrides)


def load(overrides: Sequence[str] = ()) -> Flow:
    """The flow that overrides compose to; ConfigError with every fault there is."""
    from pokeflow import plugins
    from pokeflow.config import _composition as composition
    from pokeflow.config import _omegaconf as omegaconf
    from pokeflow.config._resolver import resolve

    return resolve(omegaconf.plain(composition.composed(overrides)), plugins.registry(plugins.manager()))


def load_store(overrides: Sequence[str] = ()) -> "Store":
    """The store that overrides name; ConfigError with its faults, whatever the rest of the configuration says."""
    from pathlib import Path

    from pokeflow.config import _composition as composition
    from pokeflow.config import _omegaconf as omegaconf
    from pokeflow.config import _settings as settings
    from pokeflow.config._resolver import bucket
    from pokeflow.schema import parse
    from pokeflow.store import Store

    faults: list[Fault] = []
    given = parse(settings.Store, omegaconf.plain(composition.composed(overrides))["store"], "store", faults)
    remote = bucket(given, faults) if given and not faults else None
    if given is None or faults:
        raise ConfigError(faults)
    return Store(Path(given.root).expanduser(), remote)
