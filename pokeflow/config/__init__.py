"""Configuration: YAML and overrides come in, a ``Flow`` of plain, checked data goes out.

Hydra composes and OmegaConf resolves; both end inside this package, and load only when something is composed.
"""

import os
import shlex
from collections.abc import Sequence

from pokeflow.config._search_path import GROUPS, conf_dir, options, shipped_conf
from pokeflow.flow import Flow

__all__ = ["GROUPS", "conf_dir", "load", "options", "shipped_conf"]


def load(overrides: Sequence[str] = (), *, config_dir: "str | os.PathLike[str] | None" = None) -> Flow:
    """Compose a configuration and check it; see ``pokeflow.load``."""
    from pokeflow import plugins
    from pokeflow.config import _composition as composition
    from pokeflow.config import _omegaconf as omegaconf
    from pokeflow.config._resolver import resolve

    if isinstance(overrides, str):
        raise TypeError("overrides: a list of KEY=VALUE is expected, not one text.")
    words = [*(("--config-dir", os.fspath(config_dir)) if config_dir is not None else ()), *overrides]
    composed = composition.compose(composition.parse_arguments(words))
    registry = plugins.registry(plugins.manager())
    return resolve(omegaconf.plain(composed.config), registry, command=shlex.join(["pokeflow", *words]))
