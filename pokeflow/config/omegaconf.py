"""Conversion of composed YAML to plain data: interpolations are resolved, and no OmegaConf type remains."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf, _utils
from omegaconf.errors import OmegaConfBaseException

from pokeflow.config._search_path import GROUPS, conf_dir, options, shipped_conf, yaml_names
from pokeflow.errors import ConfigError, Fault
from pokeflow.plugins import config_packages, manager

__all__ = ["GROUPS", "PluginConfigs", "conf_dir", "options", "plugin_configs", "shipped_conf", "to_plain"]


_IN_USE = ContextVar("in_use", default=False)
_ORIGINAL_LOADER = _utils.get_yaml_loader
HYDRA = "hydra"
"""Key of Hydra's own settings in a composed configuration."""


class PluginConfigs(SearchPathPlugin):
    """Hydra plugin that adds the YAML of installed plugins and, after a project's own, the shipped YAML."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append to Hydra's search path; raise a ConfigError, instead of hiding one, if two ship the same option."""
        if not _IN_USE.get():
            return
        shipped = shipped_conf()
        owner = {str(f.relative_to(shipped)): "pokeflow" for f in shipped.glob("*/**/*.yaml")}
        for package in config_packages(manager()):
            for name in yaml_names(package):
                if name in owner:
                    raise ConfigError([Fault(name, f"shipped by both {owner[name]} and {package}; remove one.")])
                owner[name] = package
            search_path.append("pokeflow", f"pkg://{package}")
        search_path.append("pokeflow", f"file://{shipped}")


@contextmanager
def plugin_configs() -> Iterator[None]:
    """Let Hydra search the plugins' YAML within this context and thread; other uses of Hydra are not affected.

    Within it, OmegaConf's YAML loader is based on libyaml, if PyYAML has it: it reads the same data faster.
    ``python -m tests.benchmarks.reader`` measures it: without it composing takes 1.2 to 1.4 times as long.
    """
    Plugins.instance().register(PluginConfigs)
    reader, token = _utils.get_yaml_loader, _IN_USE.set(True)
    _utils.get_yaml_loader = _yaml_loader
    try:
        yield
    finally:
        _utils.get_yaml_loader = reader
        _IN_USE.reset(token)


@cache
def _yaml_loader() -> Any:
    loader = _ORIGINAL_LOADER()
    return type("Loader", (yaml.CSafeLoader, loader), {}) if yaml.__with_libyaml__ else loader


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """Return the composed configuration without Hydra's node; raise a ConfigError with every broken interpolation."""
    data = {}
    try:
        for key in cfg:
            if key != HYDRA:
                value = "???" if OmegaConf.is_missing(cfg, key) else cfg[key]
                data[str(key)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        faults = [fault for fault in _bad_interpolations(cfg) if fault.path.partition(".")[0] != HYDRA]
        raise ConfigError(dict.fromkeys(faults)) from None
    return data


def _bad_interpolations(node: DictConfig | ListConfig) -> Iterator[Fault]:
    keys: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        try:
            child = None if OmegaConf.is_missing(node, key) else node[key]
        except OmegaConfBaseException as error:
            yield Fault(str(error.full_key), f"{str(error.msg).splitlines()[0].rstrip('.')}.")
            continue
        # The target of an interpolation is checked at its own path.
        if isinstance(child, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, key):
            yield from _bad_interpolations(child)
