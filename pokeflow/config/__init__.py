"""Configuration: YAML and overrides come in, a ``Flow`` of plain, checked data goes out.

Hydra composes and OmegaConf resolves; both end inside this package, and load only when something is composed.
"""

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pokeflow.config._search_path import GROUPS, NAME, conf_dir, distribution_of, options, shipped_conf
from pokeflow.flow import Flow

if TYPE_CHECKING:  # what help need not load
    from pokeflow.config._choices import Choices
    from pokeflow.store import Store

__all__ = [
    "GROUPS",
    "NAME",
    "choices",
    "composed",
    "conf_dir",
    "distribution_of",
    "load",
    "load_store",
    "open_store",
    "options",
    "shipped_conf",
]


def choices(group: str, overrides: Sequence[str] = ()) -> "Choices":
    """The groups below a group (empty: the topmost ones), and its options, as the search path of overrides has them."""
    from pokeflow.config import _choices

    return _choices.choices(group, overrides)


def composed(overrides: Sequence[str] = ()) -> Any:
    """The configuration that overrides compose to, as plain data; neither resolved nor checked."""
    from pokeflow.config import _choices

    return _choices.composed(overrides)


def load(overrides: Sequence[str] = (), *, config_dir: "str | os.PathLike[str] | None" = None) -> Flow:
    """Compose a configuration and check it; see ``pokeflow.load``."""
    from pokeflow import plugins
    from pokeflow.config import composition, omegaconf
    from pokeflow.config.resolver import resolve

    if isinstance(overrides, str):
        raise TypeError("overrides: a list of KEY=VALUE is expected, not one text.")
    words = [*(("--config-dir", os.fspath(config_dir)) if config_dir is not None else ()), *overrides]
    composed = composition.compose(composition.parse_arguments(words))
    registry = plugins.registry(plugins.manager())
    return resolve(omegaconf.plain(composed.config), registry, command=shlex.join(["pokeflow", *words]))


def load_store(overrides: Sequence[str] = ()) -> "Store":
    """Open the store that overrides name; ConfigError with its faults, whatever the rest of the configuration says."""
    from pokeflow.config import composition, omegaconf

    return open_store(omegaconf.plain(composition.composed(overrides)).get("store"))


def open_store(data: Any) -> "Store":
    """Open the store that the configuration's group ``store`` names, as plain data; ConfigError with its faults."""
    from pathlib import Path

    from pokeflow import store
    from pokeflow.config.resolver import resolve_store, shared_of

    settings = resolve_store(data)
    return store.open_at(Path(settings.root).expanduser(), shared_of(settings), settings.connections)
