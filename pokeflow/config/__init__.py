"""Configuration: YAML and overrides come in, a ``Flow`` of plain, checked data goes out.

Hydra composes and OmegaConf resolves; both end inside this package, and load only when something is composed.
"""

from collections.abc import Sequence

from pokeflow.config._search_path import GROUPS, conf_dir, options, shipped_conf
from pokeflow.flow import Flow

__all__ = ["GROUPS", "conf_dir", "load", "options", "shipped_conf"]


def load(overrides: Sequence[str] = ()) -> Flow:
    """The flow that overrides compose to; ConfigError with every fault there is."""
    from pokeflow import plugins
    from pokeflow.config import _composition as composition
    from pokeflow.config import _omegaconf as omegaconf
    from pokeflow.config._resolver import resolve

    return resolve(omegaconf.plain(composition.composed(overrides)), plugins.registry(plugins.manager()))
