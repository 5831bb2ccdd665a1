"""Hydra's command line and composition, with pokeflow's errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pokeflow.config import _omegaconf as omegaconf
from pokeflow.errors import ConfigError, Fault, unknown

# Groups whose every key is checked by `resolve`: a key that YAML does not list may be a parameter's default.
_CHECKED = ("project", "lineage", "data", "target", "store", "executor", "tracking", "registry", "cloud")
_PLAIN = re.compile(r"[A-Za-z_][\w.\-\[\]]*=", re.ASCII)


def overrides(args: Sequence[str]) -> list[str]:
    """Let ``KEY=VALUE`` set a value that no YAML lists: ``resolve`` knows every key there is, Hydra does not."""
    return [f"++{arg}" if _may_add(arg) else arg for arg in args]


def _may_add(arg: str) -> bool:
    if not _PLAIN.match(arg):
        return False
    head, dot, _ = arg.partition("=")[0].partition(".")
    return head in _CHECKED if dot else head not in omegaconf.GROUPS


def composed(args: Sequence[str]) -> DictConfig:
    """Compose without running: for plan and the other commands. ConfigError where Hydra cannot."""
    return composed_with_mode(args)[0]


def composed_with_mode(args: Sequence[str]) -> tuple[DictConfig, RunMode]:
    """The same, and whether Hydra would run this configuration once or sweep."""
    omegaconf.register_search_path()
    args, extra = _config_dir(args)
    with faults():
        GlobalHydra.instance().clear()
        # What Hydra's own flag does: a place to look in after all the others.
        path = [f"hydra.searchpath=[{_quoted(f'file://{extra.resolve()}')}]"] if extra else []
        with initialize_config_dir(str(omegaconf.conf_dir().resolve()), version_base="1.3", job_name="pokeflow"):
            try:
                cfg = hydra_compose("config", overrides=[*path, *overrides(args)], return_hydra_config=True)
            except ValueError as error:  # a group set to null, for one
                raise ConfigError([Fault("pokeflow", _line(error))]) from error
    mode = RunMode(cfg.hydra.mode or RunMode.RUN)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, mode


def _quoted(text: str) -> str:
    """Text as a value of Hydra's override grammar."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _config_dir(args: Sequence[str]) -> tuple[list[str], Path | None]:
    rest, found = [], None
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            found = Path(value if equals else next(words, ""))
        elif word.startswith("-"):
            raise ConfigError([unknown("pokeflow", "flag", word, ["--config-dir"])])
        else:
            rest.append(word)
    if found and not found.is_dir():
        raise ConfigError([Fault("--config-dir", f"no folder {found}.")])
    return rest, found


@contextmanager
def faults() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML say into the form path: fault, nearest, known."""
    from yaml import YAMLError

    try:
        yield
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file or "config").rpartition("/")
        raise ConfigError([unknown(group or "conf", "option", name, error.options or [])]) from error
    except OverrideParseException as error:
        raise ConfigError(
            [Fault(str(error.override).lstrip("+"), f"not KEY=VALUE as Hydra reads it: {_line(error)}")]
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([_fault(error)]) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}:{mark.line + 1}" if mark else "conf"
        raise ConfigError([Fault(where, f"no valid YAML: {getattr(error, 'problem', None) or error}.")]) from error


def _fault(error: BaseException) -> Fault:
    cause: BaseException | None = error
    while cause and not (isinstance(cause, OmegaConfBaseException) and cause.full_key):
        cause = cause.__cause__
    if isinstance(cause, OmegaConfBaseException):
        parent = cause.parent_node
        if isinstance(parent, DictConfig) and cause.key is not None and cause.key not in parent:
            return unknown(str(cause.full_key), "key", cause.key, map(str, parent))
        return Fault(str(cause.full_key), f"{str(cause.msg or cause).splitlines()[0].rstrip('.')}.")
    return Fault("pokeflow", _line(error))


def _line(error: BaseException) -> str:
    return f"{str(error).strip().splitlines()[0].rstrip('.')}."
