"""Composition by Hydra, with pokeflow's errors: from arguments to one configuration with Hydra's own node."""

import os
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pokeflow.config import _search_path as search_path
from pokeflow.config import omegaconf
from pokeflow.config.settings import FORMER_KEYS
from pokeflow.errors import ConfigError, Fault, unknown

# Groups in which `resolve` validates every key: a key that YAML does not list may be a parameter with a default.
_CHECKED = ("project", "lineage", "data", "target", "store", "executor", "tracking", "registry", "cloud")
_PLAIN = re.compile(r"[A-Za-z_][\w.\-\[\]]*=", re.ASCII)
_VALUES = {
    **dict.fromkeys(("--config-dir", "-cd"), "config_dir"),
    **dict.fromkeys(("--config-name", "-cn"), "config_name"),
    **dict.fromkeys(("--config-path", "-cp"), "config_path"),
}
_HYDRA = threading.RLock()
"""Lock for Hydra's own state, which is global to the process."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Input of a composition: overrides, and Hydra's flags for the location of the YAML and for a sweep."""

    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    config_name: str = "config"
    config_path: str | None = None
    multirun: bool = False


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed configuration with Hydra's own settings under ``hydra``, and the loader that composed it."""

    config: DictConfig
    loader: ConfigLoader

    @property
    def multirun(self) -> bool:
        """True if Hydra would run a sweep with this configuration."""
        return (self.config.hydra.mode or RunMode.RUN) == RunMode.MULTIRUN


def parse_arguments(args: Sequence[str], *, run: bool = False) -> Arguments:
    """Separate overrides from flags; raise a ConfigError for unknown flags. ``run`` also accepts the flags of a run."""
    values: dict[str, str] = {}
    overrides: list[str] = []
    multirun = False
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _VALUES and (run or _VALUES[flag] == "config_dir"):
            values[_VALUES[flag]] = value if equals else next(words, "")
            if not values[_VALUES[flag]]:
                raise ConfigError([Fault(flag, f"no value. Write {flag}=VALUE.")])
        elif run and word in ("--multirun", "-m", "--run", "-r"):
            multirun |= word in ("--multirun", "-m")
        elif word.startswith("-"):
            flags = ["--config-dir", *(("--config-name", "--config-path", "--multirun", "--run") if run else ())]
            raise ConfigError([unknown("pokeflow", "flag", word, flags)])
        else:
            overrides.append(word)
    return Arguments(
        tuple(overrides),
        _existing(values.get("config_dir")),
        values.get("config_name") or "config",
        values.get("config_path"),
        multirun,
    )


def _existing(folder: "str | os.PathLike[str] | None") -> Path | None:
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ConfigError([Fault("--config-dir", f"folder {folder} does not exist.")])
    return Path(folder).resolve()


def compose_config(args: Sequence[str]) -> DictConfig:
    """Return the configuration that arguments compose to, without Hydra's own node."""
    config = compose(parse_arguments(args)).config
    with open_dict(config):
        del config["hydra"]
    return config


def compose(arguments: Arguments) -> Composition:
    """Compose a configuration for a single run, ignoring ``arguments.multirun``; raise a ConfigError if Hydra cannot.

    Hydra's global state is restored afterwards.
    """
    with session(arguments) as loader:
        return Composition(load(loader, arguments, RunMode.RUN), loader)


@contextmanager
def session(arguments: Arguments) -> Iterator[ConfigLoader]:
    """Set up Hydra's global state for composing and sweeping, in one thread at a time, and restore it afterwards."""
    folder = Path(arguments.config_path or search_path.conf_dir()).resolve()
    with _HYDRA, omegaconf.plugin_configs(), faults():
        singleton = GlobalHydra.instance()
        before = singleton.hydra
        singleton.clear()  # a notebook may use Hydra itself
        try:
            with initialize_config_dir(str(folder), version_base="1.3", job_name="pokeflow"):
                yield GlobalHydra.instance().config_loader()
        finally:
            GlobalHydra.instance().hydra = before


def load(loader: ConfigLoader, arguments: Arguments, mode: RunMode, extra: Sequence[str] = ()) -> DictConfig:
    """Compose within a session, with ``extra`` overrides for Hydra itself.

    If the default option of an optional group is not installed, the group is set to ``none`` and composed again: only
    the first composition shows whether another option was chosen. Hydra itself skips a missing option silently.
    """
    folder = [f"hydra.searchpath=[{_quote(f'file://{arguments.config_dir}')}]"] if arguments.config_dir else []
    overrides = [*extra, *folder, *_allow_new_keys(arguments.overrides)]
    config = _load(loader, arguments, mode, overrides)
    absent = []
    for group, default in _optional(arguments).items():
        name = config.hydra.runtime.choices.get(group)
        if not isinstance(name, str) or name in (options := _options(group, arguments, config)):
            continue
        if name != default or group in _overridden_groups(arguments.overrides):
            raise ConfigError([no_option(group, name, options)])
        absent.append(f"{group}=none")
    return _load(loader, arguments, mode, [*absent, *overrides]) if absent else config


def _load(loader: ConfigLoader, arguments: Arguments, mode: RunMode, overrides: list[str]) -> DictConfig:
    try:
        return loader.load_configuration(arguments.config_name, overrides, mode, from_shell=False)
    except (ValueError, TypeError, AssertionError, RecursionError) as error:  # such as a group set to null or a list
        raise ConfigError([Fault("pokeflow", _line(error))]) from error


def hydra_arguments(args: Sequence[str]) -> list[str]:
    """Return arguments, including flags, in the form that Hydra's own entry point accepts."""
    groups = _overridden_groups(args)
    absent = [
        f"{group}=none"
        for group, name in _optional(Arguments()).items()
        if group not in groups and name not in search_path.options(group)
    ]
    return [*_allow_new_keys(args), *absent]


def _overridden_groups(overrides: Sequence[str]) -> set[str]:
    """Return the groups and keys that overrides set."""
    return {override.lstrip("+~").partition("=")[0].partition("@")[0] for override in overrides}


def _allow_new_keys(overrides: Sequence[str]) -> list[str]:
    """Let ``KEY=VALUE`` set a value that no YAML lists: ``resolve`` knows all valid keys, Hydra does not."""
    return [f"++{override}" if _may_add(override) else override for override in overrides]


def _may_add(override: str) -> bool:
    if not _PLAIN.match(override):
        return False
    head, dot, _ = override.partition("=")[0].partition(".")
    return head in _CHECKED if dot else head not in omegaconf.GROUPS


def _optional(arguments: Arguments) -> dict[str, str]:
    """Return the groups that the main file marks optional, with the option that it names for each."""
    file = Path(arguments.config_path or search_path.conf_dir()) / f"{arguments.config_name}.yaml"
    return search_path.optional_groups(file)


def _options(group: str, arguments: Arguments, config: DictConfig) -> list[str]:
    """Return the options of a group, including those in folders that the command line or YAML names."""
    sources = config.hydra.runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    folders += [arguments.config_dir] if arguments.config_dir else []
    return sorted({*search_path.options(group), *(f.stem for d in folders for f in d.glob(f"{group}/*.yaml"))})


def no_option(group: str, name: str, options: Sequence[str]) -> Fault:
    """Return the Fault for an unknown option, with the nearest name and, if known, the distribution to install."""
    distribution = search_path.distribution_of(group, name)
    return unknown(group, "option", name, options, f"Install {distribution}." if distribution else "")


def _quote(text: str) -> str:
    """Return text as a quoted value of Hydra's override grammar."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@contextmanager
def faults() -> Iterator[None]:
    """Convert errors of Hydra, OmegaConf and YAML to a ConfigError with path, message, nearest and known names."""
    from yaml import YAMLError

    try:
        yield
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file or "config").rpartition("/")
        # Hydra lists no options if the group was set to a list.
        known = error.options or search_path.options(group)
        raise ConfigError([no_option(group or "conf", name, known)]) from error
    except OverrideParseException as error:
        raise ConfigError([_override_fault(str(error.override).lstrip("+"), _line(error))]) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([_fault(error)]) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = f"{mark.name}:{mark.line + 1}" if mark else "conf"
        raise ConfigError([Fault(location, f"invalid YAML: {getattr(error, 'problem', None) or error}.")]) from error


def _override_fault(word: str, reason: str) -> Fault:
    key, _, value = word.partition("=")
    if value[:1] in "[{(":  # an unterminated list is not text to be quoted
        return Fault(word, f"not a valid override KEY=VALUE: {reason}")
    text = f"{key}={_quote(value)}"
    example = shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'
    return Fault(word, f"not a valid override KEY=VALUE. To set it as text, write {example}")


def _fault(error: BaseException) -> Fault:
    cause: BaseException | None = error
    while cause and not (isinstance(cause, OmegaConfBaseException) and cause.full_key):
        cause = cause.__cause__
    if isinstance(cause, OmegaConfBaseException):
        parent = cause.parent_node
        if isinstance(parent, DictConfig) and cause.key is not None and cause.key not in parent:
            path, present = str(cause.full_key), FORMER_KEYS.get(str(cause.key))
            if present and (present in parent or path.startswith("lineage.")):
                return Fault(path, f"the key is now called {present!r}.")
            return unknown(path, "key", cause.key, map(str, parent))
        return Fault(str(cause.full_key), f"{str(cause.msg or cause).splitlines()[0].rstrip('.')}.")
    return Fault("pokeflow", _line(error))


def _line(error: BaseException) -> str:
    return f"{str(error).strip().splitlines()[0].rstrip('.')}."
