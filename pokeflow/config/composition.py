"""Hydra's composition, with pokeflow's errors: arguments come in, one configuration with Hydra's own node goes out."""

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

# Groups whose every key is checked by `resolve`: a key that YAML does not list may be a parameter's default.
_CHECKED = ("project", "lineage", "data", "target", "store", "executor", "tracking", "registry", "cloud")
_PLAIN = re.compile(r"[A-Za-z_][\w.\-\[\]]*=", re.ASCII)
_VALUES = {
    **dict.fromkeys(("--config-dir", "-cd"), "config_dir"),
    **dict.fromkeys(("--config-name", "-cn"), "config_name"),
    **dict.fromkeys(("--config-path", "-cp"), "config_path"),
}
_HYDRA = threading.RLock()
"""Held while Hydra's own state, one for the whole process, is in use."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What is composed: overrides, and the flags of Hydra's that say from where and whether once or as a sweep."""

    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    config_name: str = "config"
    config_path: str | None = None
    multirun: bool = False


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed configuration, Hydra's own settings under ``hydra``, and the loader that composed it."""

    config: DictConfig
    loader: ConfigLoader

    @property
    def multirun(self) -> bool:
        """Whether Hydra would sweep with this configuration."""
        return (self.config.hydra.mode or RunMode.RUN) == RunMode.MULTIRUN


def parse_arguments(args: Sequence[str], *, run: bool = False) -> Arguments:
    """Tell overrides from flags; ``run``: those that say how to run are taken as well. ConfigError for any other."""
    found: dict[str, str] = {}
    rest: list[str] = []
    multirun = False
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _VALUES and (run or _VALUES[flag] == "config_dir"):
            found[_VALUES[flag]] = value if equals else next(words, "")
            if not found[_VALUES[flag]]:
                raise ConfigError([Fault(flag, "no value is given.")])
        elif run and word in ("--multirun", "-m", "--run", "-r"):
            multirun |= word in ("--multirun", "-m")
        elif word.startswith("-"):
            flags = ["--config-dir", *(("--config-name", "--config-path", "--multirun", "--run") if run else ())]
            raise ConfigError([unknown("pokeflow", "flag", word, flags)])
        else:
            rest.append(word)
    return Arguments(
        tuple(rest),
        _existing(found.get("config_dir")),
        found.get("config_name") or "config",
        found.get("config_path"),
        multirun,
    )


def _existing(folder: "str | os.PathLike[str] | None") -> Path | None:
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ConfigError([Fault("--config-dir", f"no folder {folder}.")])
    return Path(folder).resolve()


def composed(args: Sequence[str]) -> DictConfig:
    """The configuration that arguments compose to, without Hydra's own node."""
    config = compose(parse_arguments(args)).config
    with open_dict(config):
        del config["hydra"]
    return config


def compose(arguments: Arguments) -> Composition:
    """Compose a configuration that is run once, whatever ``arguments.multirun`` says; ConfigError where Hydra cannot.

    Nothing of Hydra's global state is left behind.
    """
    with session(arguments) as loader:
        return Composition(load(loader, arguments, RunMode.RUN), loader)


@contextmanager
def session(arguments: Arguments) -> Iterator[ConfigLoader]:
    """Hydra's global state as composing and sweeping need it; one thread at a time has it, and it is put back."""
    folder = Path(arguments.config_path or search_path.conf_dir()).resolve()
    with _HYDRA, omegaconf.plugin_configs(), faults():
        singleton = GlobalHydra.instance()
        before = singleton.hydra
        singleton.clear()  # of a notebook that uses Hydra itself
        try:
            with initialize_config_dir(str(folder), version_base="1.3", job_name="pokeflow"):
                yield GlobalHydra.instance().config_loader()
        finally:
            GlobalHydra.instance().hydra = before


def load(loader: ConfigLoader, arguments: Arguments, mode: RunMode, extra: Sequence[str] = ()) -> DictConfig:
    """Compose within a session, with ``extra`` overrides of Hydra's own.

    What is optional and not installed is ``none`` instead: then, and only then, it is composed twice, for only the
    composition tells whether somebody chose something else. Hydra itself passes over what it cannot find.
    """
    overrides = [*extra, *_searched(arguments), *_allow_new_keys(arguments.overrides)]
    config = _load(loader, arguments, mode, overrides)
    absent = []
    for group, default in _optional(arguments).items():
        name = config.hydra.runtime.choices.get(group)
        if not isinstance(name, str) or name in (known := _options(group, arguments, config)):
            continue
        if name != default or group in _groups_given(arguments.overrides):
            raise ConfigError([no_option(group, name, known)])
        absent.append(f"{group}=none")
    return _load(loader, arguments, mode, [*absent, *overrides]) if absent else config


def _load(loader: ConfigLoader, arguments: Arguments, mode: RunMode, overrides: list[str]) -> DictConfig:
    try:
        return loader.load_configuration(arguments.config_name, overrides, mode, from_shell=False)
    except (ValueError, TypeError, AssertionError, RecursionError) as error:  # a group set to null or a list, for one
        raise ConfigError([Fault("pokeflow", _line(error))]) from error


def hydra_arguments(args: Sequence[str]) -> list[str]:
    """Arguments, flags among them, as Hydra's own entry point takes them."""
    given = _groups_given(args)
    absent = [
        f"{group}=none"
        for group, name in _optional(Arguments()).items()
        if group not in given and name not in search_path.options(group)
    ]
    return [*_allow_new_keys(args), *absent]


def _searched(arguments: Arguments) -> list[str]:
    """What Hydra's own flag for a folder does: a place to look in after all the others."""
    return [f"hydra.searchpath=[{_quoted(f'file://{arguments.config_dir}')}]"] if arguments.config_dir else []


def _groups_given(overrides: Sequence[str]) -> set[str]:
    """The groups, and keys, that overrides are of."""
    return {override.lstrip("+~").partition("=")[0].partition("@")[0] for override in overrides}


def _allow_new_keys(overrides: Sequence[str]) -> list[str]:
    """Let ``KEY=VALUE`` set a value that no YAML lists: ``resolve`` knows every key there is, Hydra does not."""
    return [f"++{override}" if _may_add(override) else override for override in overrides]


def _may_add(override: str) -> bool:
    if not _PLAIN.match(override):
        return False
    head, dot, _ = override.partition("=")[0].partition(".")
    return head in _CHECKED if dot else head not in omegaconf.GROUPS


def _optional(arguments: Arguments) -> dict[str, str]:
    """The groups that the main file calls optional, with the option that it names."""
    file = Path(arguments.config_path or search_path.conf_dir()) / f"{arguments.config_name}.yaml"
    return search_path.optional_groups(file)


def _options(group: str, arguments: Arguments, config: DictConfig) -> list[str]:
    """The options of a group, those of folders that were named on the command line or in YAML among them."""
    sources = config.hydra.runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    folders += [arguments.config_dir] if arguments.config_dir else []
    return sorted({*search_path.options(group), *(f.stem for d in folders for f in d.glob(f"{group}/*.yaml"))})


def no_option(group: str, name: str, known: Sequence[str]) -> Fault:
    """The fault of an option that is not there: the nearest name, and what to install where that is known."""
    distribution = search_path.distribution_of(group, name)
    return unknown(group, "option", name, known, f"Install {distribution}." if distribution else "")


def _quoted(text: str) -> str:
    """Text as a value of Hydra's override grammar."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@contextmanager
def faults() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML say into the form path: fault, nearest, known."""
    from yaml import YAMLError

    try:
        yield
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file or "config").rpartition("/")
        raise ConfigError([no_option(group or "conf", name, error.options or [])]) from error
    except OverrideParseException as error:
        raise ConfigError([_no_override(str(error.override).lstrip("+"), _line(error))]) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([_fault(error)]) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}:{mark.line + 1}" if mark else "conf"
        raise ConfigError([Fault(where, f"no valid YAML: {getattr(error, 'problem', None) or error}.")]) from error


def _no_override(word: str, reason: str) -> Fault:
    key, _, value = word.partition("=")
    if value[:1] in "[{(":  # a list that does not end is no text to be quoted
        return Fault(word, f"not KEY=VALUE as Hydra reads it: {reason}")
    text = f"{key}={_quoted(value)}"
    shown = shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'
    return Fault(word, f"not KEY=VALUE as Hydra reads it. As text it is {shown}")


def _fault(error: BaseException) -> Fault:
    cause: BaseException | None = error
    while cause and not (isinstance(cause, OmegaConfBaseException) and cause.full_key):
        cause = cause.__cause__
    if isinstance(cause, OmegaConfBaseException):
        parent = cause.parent_node
        if isinstance(parent, DictConfig) and cause.key is not None and cause.key not in parent:
            path, present = str(cause.full_key), FORMER_KEYS.get(str(cause.key))
            if present and (present in parent or path.startswith("lineage.")):
                return Fault(path, f"the key is called {present!r}.")
            return unknown(path, "key", cause.key, map(str, parent))
        return Fault(str(cause.full_key), f"{str(cause.msg or cause).splitlines()[0].rstrip('.')}.")
    return Fault("pokeflow", _line(error))


def _line(error: BaseException) -> str:
    return f"{str(error).strip().splitlines()[0].rstrip('.')}."
