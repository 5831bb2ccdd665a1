"""From YAML to plain data: Hydra composes, interpolations are resolved, and OmegaConf ends here."""

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

__all__ = ["GROUPS", "PluginConfigs", "conf_dir", "options", "plain", "plugin_configs", "shipped_conf"]


_IN_USE = ContextVar("in_use", default=False)
_OWN_LOADER = _utils.get_yaml_loader
HYDRA = "hydra"
"""The key of Hydra's own settings in a composed configuration."""


class PluginConfigs(SearchPathPlugin):
    """Lets Hydra see the YAML of every installed plugin, and the shipped one behind a project's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append to Hydra's list of places; two that ship the same option are an error, not a shadow."""
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
    """Have Hydra see the plugins' YAML meanwhile in this thread; a program's own use of Hydra stays as it was.

    libyaml, where PyYAML has it, is put under OmegaConf's reader of YAML: the same data, for speed alone.
    ``python -m tests.benchmarks.reader`` measures it: without it composing takes 1.4 times as long with the default
    lineage and 1.3 times with 300 models.
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
    own = _OWN_LOADER()
    return type("Loader", (yaml.CSafeLoader, own), {}) if yaml.__with_libyaml__ else own


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The composed configuration without Hydra's node; ConfigError names every interpolation that leads nowhere."""
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
        # What a resolved interpolation points to is looked at where it stands.
        if isinstance(child, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, key):
            yield from _bad_interpolations(child)
